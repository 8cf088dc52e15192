"""The fake forge's comments, reactions, deployments and commit statuses."""

from __future__ import annotations

from dataclasses import dataclass, field

from stager.domain.environment import ChangeLink
from stager.domain.source import Repository
from stager.ports.forge import Announcement, Progress, Reaction
from stager.testing.fakes.faults import Faulty


@dataclass(slots=True)
class Comment:
    """A comment in a pull request's conversation.

    Args:
        ours: whether Stager's account wrote it.
        edits: how often it was edited.
        reactions: ours.
    """

    id: str
    repository_id: str
    number: int
    body: str
    ours: bool = True
    edits: int = 0
    reactions: list[Reaction] = field(default_factory=list)


@dataclass(slots=True)
class Deployment:
    """A deployment.

    Args:
        statuses: its reported statuses, oldest first.
    """

    id: str
    repository_id: str
    number: int
    environment: str
    sha: str
    statuses: list[Announcement] = field(default_factory=list)

    @property
    def progress(self) -> Progress:
        """Its latest progress."""
        return self.statuses[-1].progress


@dataclass(frozen=True, slots=True)
class Status:
    """A commit status."""

    repository_id: str
    sha: str
    context: str
    announcement: Announcement


class FakeReports(Faulty):
    """See `stager.ports.forge`: `Reports` and `Announcements`.

    Attributes:
        comments: all of them, oldest first.
        deployments: the same.
        statuses: all commit statuses, oldest first. The last one of a context is current.
    """

    def __init__(self) -> None:
        super().__init__()
        self.comments: list[Comment] = []
        self.deployments: list[Deployment] = []
        self.statuses: list[Status] = []
        self._written = 0

    async def comment(self, change: ChangeLink, *, marker: str, body: str, known: str) -> str:
        await self._turn(writes=True)
        text = body if marker in body else f"{body}\n\n{marker}"
        found = self._find(change, marker, known)
        if found is None:
            return self._add(change.repository_id, change.number, text, ours=True).id
        found.body = text
        found.edits += 1
        return found.id

    async def uncomment(self, change: ChangeLink, *, marker: str, known: str) -> None:
        await self._turn(writes=True)
        found = self._find(change, marker, known)
        if found is not None:
            self.comments.remove(found)

    async def deployment(self, change: ChangeLink, announcement: Announcement, known: str) -> str:  # noqa: ARG002
        """See the port. The deployment is found by its commit; `known` isn't needed."""
        await self._turn(writes=True)
        key = (change.repository_id, announcement.environment)
        ours = [d for d in self.deployments if (d.repository_id, d.environment) == key]
        current = next((d for d in reversed(ours) if d.sha == announcement.sha), None)
        for other in ours:
            if other is not current and other.progress is not Progress.INACTIVE:
                self._set_status(other, Announcement(other.environment, other.sha, Progress.INACTIVE, ""))
        if current is None and announcement.progress is Progress.INACTIVE:
            return ""
        current = current or self._deploy(change, announcement)
        self._set_status(current, announcement)
        return current.id

    async def status(self, change: ChangeLink, announcement: Announcement, context: str) -> None:
        await self._turn(writes=True)
        status = Status(change.repository_id, announcement.sha, context, announcement)
        if announcement.progress is not Progress.INACTIVE and status != self._last_status(status):
            self.statuses.append(status)

    async def react(self, repository: Repository, comment: str, reaction: Reaction) -> None:
        await self._turn(writes=True)
        for found in self.comments:
            if (found.repository_id, found.id) == (
                repository.id,
                comment,
            ) and reaction not in found.reactions:
                found.reactions.append(reaction)

    def _find(self, change: ChangeLink, marker: str, known: str) -> Comment | None:
        """Stager's comment. Others' comments don't count, even with Stager's marker."""
        place = (change.repository_id, change.number)
        ours = [c for c in self.comments if c.ours and (c.repository_id, c.number) == place]
        found = [c for c in ours if c.id == known] or [c for c in ours if marker in c.body]
        return found[0] if found else None

    def _add(self, repository_id: str, number: int, body: str, *, ours: bool) -> Comment:
        comment = Comment(self._next_id(), repository_id, number, body, ours)
        self.comments.append(comment)
        return comment

    def _deploy(self, change: ChangeLink, announcement: Announcement) -> Deployment:
        deployment = Deployment(
            self._next_id(), change.repository_id, change.number, announcement.environment, announcement.sha
        )
        self.deployments.append(deployment)
        return deployment

    def _set_status(self, deployment: Deployment, announcement: Announcement) -> None:
        if not deployment.statuses or deployment.statuses[-1] != announcement:
            deployment.statuses.append(announcement)

    def _last_status(self, like: Status) -> Status | None:
        place = (like.repository_id, like.sha, like.context)
        same = (s for s in reversed(self.statuses) if (s.repository_id, s.sha, s.context) == place)
        return next(same, None)

    def _next_id(self) -> str:
        self._written += 1
        return str(self._written)
