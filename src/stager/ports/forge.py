"""The forge, such as GitHub."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

from stager.domain.environment import ChangeLink
from stager.domain.pull_requests.events import Delivery, Event
from stager.domain.source import Access, Change, Repository
from stager.ports.source import Origin


class Progress(StrEnum):
    """The state of a deployment, by GitHub's names."""

    WAITING = "waiting"
    """It may not run yet: approval, capacity, a rule."""
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILURE = "failure"
    INACTIVE = "inactive"
    """It was live and was removed."""


Reaction = Literal["+1", "-1", "confused", "rocket", "eyes"]
"""GitHub's names (REST API, reactions)."""

Checks = Literal["none", "pending", "success", "failure"]
"""The combined result of a commit's checks and statuses, without Stager's own."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """The state of one environment, for the forge's deployments and commit statuses.

    Args:
        environment: its name there, such as `preview/shop/pr-7`.
        sha: the commit.
        description: one plain sentence.
        url: the preview's URL; empty while it doesn't serve.
        log_url: the URL of its page.
    """

    environment: str
    sha: str
    progress: Progress
    description: str
    url: str = ""
    log_url: str = ""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The forge's rate limit.

    Args:
        resets_at: when `remaining` is `limit` again.
    """

    limit: int
    remaining: int
    resets_at: datetime


class Signed(Protocol):
    """Verifies a body's signature while it is received."""

    def update(self, piece: bytes) -> None:
        """Process the next chunk."""

    def check(self) -> None:
        """Check the signature of all chunks. Raises `Refused` (401)."""


class Webhooks(Protocol):
    """Verifies and reads a forge's deliveries."""

    def expect(self, headers: Mapping[str, str]) -> Signed:
        """The verifier for the body, from the headers alone: an invalid request's body isn't read.

        Args:
            headers: with lower-case names.

        Raises:
            Refused: 401 for missing or malformed signatures or credentials.
        """

    async def receive(self, headers: Mapping[str, str], body: bytes) -> Sequence[Delivery]:
        """The deliveries in a request, after checking the signature over the raw bytes: usually one.

        Args:
            headers: with lower-case names.

        Raises:
            Refused: 401 for a missing or wrong signature or credentials, 400 for an unreadable body.
            Retry: the request only announces a change, and the forge doesn't answer what changed.
        """

    def read(self, delivery: Delivery) -> Event:
        """The delivery's event; `Ignored` with a reason for irrelevant ones. No I/O."""


class Changes(Protocol):
    """Queries a forge's current state. Each method raises `Retry` when the answer isn't certain: an empty,
    failed or partial response never counts as an answer."""

    async def change(self, repository: Repository, number: int) -> Change | None:
        """The current change; None only when the forge confirms that there is none."""

    async def open_changes(self, repository: Repository) -> list[Change]:
        """Every open change, all pages."""

    async def repository(self, owner: str, name: str) -> Repository | None:
        """The repository with this name; None when there is none, or the credentials may not see it."""


class Reports(Protocol):
    """Writes comments."""

    async def comment(self, change: ChangeLink, *, marker: str, body: str, known: str) -> str:
        """Create or update the one comment that contains `marker`.

        Args:
            marker: a hidden text that identifies the comment when `known` is lost.
            known: the id that the last call returned; empty when there is none.

        Returns:
            The comment's id.

        Raises:
            Retry: the forge can't be reached or asks to wait.
            Refused: the forge rejects it permanently.
        """

    async def uncomment(self, change: ChangeLink, *, marker: str, known: str) -> None:
        """Delete Stager's comment that contains `marker`; success when there is none.

        Arguments and exceptions are those of `comment`.
        """


class Origins(Protocol):
    """Gives git access to a repository's commits."""

    async def origin(self, repository: Repository, number: int | None) -> Origin:
        """The origin, with credentials that are valid for at least the next minutes.

        Args:
            number: the change whose commits are wanted, also from a fork; None for the repository's own.

        Raises:
            Retry: the forge doesn't issue credentials at present.
            Refused: the forge rejects the request.
        """


class People(Protocol):
    """Queries permissions, changed files and checks."""

    async def access(self, repository: Repository, login: str) -> Access:
        """The account's permission on the repository. Raises `Retry` when it isn't certain; the caller must
        then refuse."""

    async def paths(self, repository: Repository, number: int) -> list[str]:
        """The files that a change touches. Raises as `Changes` does."""

    async def checks(self, repository: Repository, sha: str, ours: str) -> Checks:
        """The combined result of the commit's checks. Raises as `Changes` does.

        Args:
            ours: the context of Stager's own status, which is left out.
        """


class Announcements(Protocol):
    """Writes deployments, commit statuses and reactions. Each method is idempotent, and raises as `Reports`
    does."""

    async def deployment(self, change: ChangeLink, announcement: Announcement, known: str) -> str:
        """Create or update the deployment of this commit; older ones of this environment become inactive.

        Args:
            known: the id that the last call for this environment returned; empty at first.

        Returns:
            The deployment's id.
        """

    async def status(self, change: ChangeLink, announcement: Announcement, context: str) -> None:
        """Set the commit's status.

        Args:
            context: its name among the commit's other statuses, such as `stager/shop`.
        """

    async def react(self, repository: Repository, comment: str, reaction: Reaction) -> None:
        """Add Stager's reaction to a comment."""


class Redelivery(Protocol):
    """Requests failed deliveries again, where the forge keeps them."""

    async def redeliver(self, since: datetime) -> int:
        """Redeliver what failed since then. Returns the number of deliveries. Raises as `Changes` does."""

    def limits(self) -> RateLimit | None:
        """The rate limit in the forge's last response; None when there is none."""


Comparison = Callable[[ChangeLink, str, str], str]
"""Returns the URL of the forge's page with the differences between two revisions, each a commit or a branch;
empty if there is no such page."""


def no_comparison(_change: ChangeLink, _base: str, _head: str) -> str:
    """The `Comparison` of a forge without such a page."""
    return ""


@dataclass(frozen=True, slots=True)
class Forge:
    """The ports of one forge.

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
    comparison: Comparison = no_comparison
