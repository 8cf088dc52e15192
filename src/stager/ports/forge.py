"""Where pull requests live, such as GitHub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

from stager.domain.environment import ChangeLink
from stager.domain.pull_requests.events import Delivery, Event
from stager.domain.source import Access, Change, Repository
from stager.ports.source import Origin


class Progress(StrEnum):
    """How a deployment stands, in the words of those forges that show deployments and statuses."""

    WAITING = "waiting"
    """It may not run yet: approval, room, a rule."""
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILURE = "failure"
    INACTIVE = "inactive"
    """It was live, and is gone."""


Reaction = Literal["+1", "-1", "confused", "rocket", "eyes"]
"""GitHub's names (REST API, reactions)."""

Checks = Literal["none", "pending", "success", "failure"]
"""What a commit's checks and statuses amount to, our own left out."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """How one environment stands, for the forge's own places.

    Args:
        environment: its name there, such as `preview/shop/pr-7`.
        sha: the commit that it is about.
        description: one plain sentence.
        url: where the preview answers; empty while it doesn't.
        log_url: where to read more.
    """

    environment: str
    sha: str
    progress: Progress
    description: str
    url: str = ""
    log_url: str = ""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How much may still be asked of the forge.

    Args:
        resets_at: when `remaining` is `limit` again.
    """

    limit: int
    remaining: int
    resets_at: datetime


class Signed(Protocol):
    """A body of which the headers have told how it is signed, while it comes in."""

    def update(self, piece: bytes) -> None:
        """Take the next piece of it."""

    def check(self) -> None:
        """Return if all that came was signed as the headers say. Raises `Refused` (401)."""


class Webhooks(Protocol):
    """Verifies and reads what a forge sends."""

    def expect(self, headers: Mapping[str, str]) -> Signed:
        """What the body must be like, by the headers alone: a body that can't be a delivery's isn't read.

        Args:
            headers: with lower-case names.

        Raises:
            Refused: 401 for a signature or credentials that are missing, or that no body could make right.
        """

    async def receive(self, headers: Mapping[str, str], body: bytes) -> Sequence[Delivery]:
        """What was sent, once its signature over the raw bytes is right. It is one delivery, unless the forge
        tells of several things at once.

        Args:
            headers: with lower-case names.

        Raises:
            Refused: 401 for a missing or wrong signature or credentials, 400 for a body that isn't readable.
            Retry: the forge tells only that something happened, and can't be asked what.
        """

    def read(self, delivery: Delivery) -> Event:
        """What the delivery says; `Ignored` with a reason for everything that concerns nothing here. Pure: no
        I/O."""


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


class Origins(Protocol):
    """Tells git where a repository's commits are."""

    async def origin(self, repository: Repository, number: int | None) -> Origin:
        """How to reach it, with credentials that are good for the next minutes at least.

        Args:
            number: the change whose commits are wanted, also from a fork; None for the repository's own.

        Raises:
            Retry: the forge can't be asked for credentials.
            Refused: it says no.
        """


class People(Protocol):
    """Asks a forge about people and what they say of a change."""

    async def access(self, repository: Repository, login: str) -> Access:
        """What this account may do with the repository. Raises `Retry` when that can't be told for certain;
        whoever asks must then refuse."""

    async def paths(self, repository: Repository, number: int) -> list[str]:
        """The files that a change touches. Raises as `Changes` does."""

    async def checks(self, repository: Repository, sha: str, ours: str) -> Checks:
        """What the commit's checks amount to. Raises as `Changes` does.

        Args:
            ours: the context of our own status, which doesn't count.
        """


class Announcements(Protocol):
    """The forge's own places for deployments. Each method may be repeated, and raises as `Reports` does."""

    async def deployment(self, change: ChangeLink, announcement: Announcement, known: str) -> str:
        """Have a deployment of this commit with this state; an older one's of this environment is marked
        inactive.

        Args:
            known: what it returned for this environment the last time; empty at first.

        Returns:
            What to call it by.
        """

    async def status(self, change: ChangeLink, announcement: Announcement, context: str) -> None:
        """Have the commit bear this status.

        Args:
            context: its name among the commit's other statuses, such as `stager/shop`.
        """

    async def react(self, repository: Repository, comment: str, reaction: Reaction) -> None:
        """Have our reaction at somebody's comment."""


class Redelivery(Protocol):
    """Fetches what was never delivered, where a forge remembers its deliveries."""

    async def redeliver(self, since: datetime) -> int:
        """Have the forge send again what failed since then. Returns how many. Raises as `Changes` does."""

    def limits(self) -> RateLimit | None:
        """What the forge said last about how much we may still ask; None when it says nothing."""


@dataclass(frozen=True, slots=True)
class Forge:
    """All that a forge is asked and told, for as long as there is something to ask it with.

    Args:
        name: such as `github`; its deliveries are recorded under it, and the ids of its repositories begin
            with it (see `domain.source.repository_id`).
    """

    name: str
    changes: Changes
    reports: Reports
    origins: Origins
    people: People
    announcements: Announcements
    redelivery: Redelivery
