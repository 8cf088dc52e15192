"""Where pull requests live, such as GitHub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from stager.domain.environment import ChangeLink
from stager.domain.events import Delivery, Event
from stager.domain.source import Change, Repository


class Webhooks(Protocol):
    """Verifies and reads what a forge sends. Pure: no I/O."""

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """The delivery, once its signature over the raw bytes is right.

        Args:
            headers: with lower-case names.

        Raises:
            Refused: 401 for a missing or wrong signature or credentials, 400 for a body that isn't readable.
        """

    def read(self, delivery: Delivery) -> Event:
        """What the delivery says; `Ignored` with a reason for everything that concerns nothing here."""


class Changes(Protocol):
    """Asks a forge what is the case now. Each method raises `Retry` when it can't tell for certain: an
    empty, failing or partial answer is never taken for an answer."""

    async def change(self, repository: Repository, number: int) -> Change | None:
        """The change as it is now; None only when the forge says that there is no such change."""

    async def open_changes(self, repository: Repository) -> list[Change]:
        """Every open change, all pages."""

    async def repository(self, owner: str, name: str) -> Repository | None:
        """The repository of this name; None when there is none, or none that we may see."""


class Reports(Protocol):
    """Tells people in the forge's own places."""

    async def comment(self, change: ChangeLink, *, marker: str, body: str, known: str) -> str:
        """Have exactly one comment that bears `marker`, with this body.

        Args:
            marker: a hidden text by which the comment is found again when `known` is lost.
            known: the comment's id from the last time; empty when there is none.

        Returns:
            The comment's id.

        Raises:
            Retry: the forge can't be reached or asks to wait.
            Refused: it says no, and will go on saying so.
        """

    async def uncomment(self, change: ChangeLink, *, marker: str, known: str) -> None:
        """Have no comment of ours that bears `marker`; success when there is none.

        Arguments and exceptions are those of `comment`.
        """
