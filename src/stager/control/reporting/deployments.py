"""Shows previews in the forge's own places: a deployment of the pull request, a status of its commit.

A status must end, or a branch that asks for it can never be merged. So whoever has no preview gets a green
one that says why, as GitHub counts a job that was skipped as passed (GitHub docs, "Troubleshooting required
status checks"); which commit waits is written down before the forge is told; and a commit that was overtaken
is let go before its successor's turn comes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from stager.control.forges import Forges
from stager.control.pull_requests.policy import status_context
from stager.control.reporting.report_state import ReportState, picture_of
from stager.control.routing.urls import Urls
from stager.domain.environment import ChangeLink
from stager.domain.status import State
from stager.ports.forge import Announcement, Forge, Progress
from stager.ports.store import StateKind, Store

PROGRESS: Mapping[State, Progress] = {
    State.STARTING: Progress.IN_PROGRESS,
    State.BUILDING: Progress.IN_PROGRESS,
    State.UPDATING: Progress.IN_PROGRESS,
    State.LIVE: Progress.SUCCESS,
    State.UNRESPONSIVE: Progress.SUCCESS,
    State.FAILED: Progress.FAILURE,
    State.FAILED_UPDATE: Progress.FAILURE,
    State.STOPPED: Progress.INACTIVE,
    State.REFUSED: Progress.INACTIVE,
    State.GONE: Progress.INACTIVE,
}
"""How a deployment stands in each state. Nothing is deployed for what was refused."""

OVERTAKEN = "A newer commit took its place before the preview was up."


@dataclass(frozen=True, slots=True)
class Said:
    """What a forge was told last of an environment.

    Args:
        known: what the forge calls its deployment.
        sha: the commit that it was about.
        progress: how that stood.
        digest: of all that was said; empty while it isn't known whether that arrived.
    """

    known: str = ""
    sha: str = ""
    progress: str = ""
    digest: str = ""

    @property
    def waits(self) -> bool:
        """Whether the commit may be shown as waiting."""
        return self.progress == Progress.IN_PROGRESS


@dataclass(frozen=True, slots=True)
class Subject:
    """What an announcement is about.

    Args:
        said: what was said of it before.
    """

    picture: ReportState
    change: ChangeLink
    forge: Forge
    announcement: Announcement
    said: Said


class Announcer:
    """Makes announcements, and remembers them.

    Args:
        kind: by what they are remembered.
    """

    def __init__(self, kind: StateKind, store: Store, forges: Forges, addresses: Urls) -> None:
        self._kind = kind
        self._store = store
        self._forges = forges
        self._addresses = addresses

    async def subject(self, environment_id: str) -> Subject | None:
        """What is to be announced of this environment; None where there is no place for it."""
        picture, said = await self._store.read(
            lambda tx: (picture_of(tx, environment_id), tx.environment_state(environment_id, self._kind))
        )
        change = picture.environment.change if picture else None
        forge = self._forges.of(change.repository_id) if change else None
        if picture is None or change is None or forge is None:
            return None
        told = Said(**json.loads(said)) if said else Said()
        return Subject(picture, change, forge, self._announcement(picture, change), told)

    async def remember(self, environment_id: str, said: Said) -> None:
        """Write down what was said."""
        text = json.dumps(asdict(said))
        await self._store.write(lambda tx: tx.save_environment_state(environment_id, self._kind, text))

    def _announcement(self, picture: ReportState, change: ChangeLink) -> Announcement:
        environment, status = picture.environment, picture.status
        progress = PROGRESS[status.state]
        return Announcement(
            environment=f"preview/{environment.app}/pr-{change.number}",
            sha=environment.desired.revision.sha,
            progress=progress,
            description=status.message,
            # While a newer commit comes up, or after it failed, what answers there is another one.
            url=self._addresses.url(environment.host) if progress is Progress.SUCCESS else "",
            log_url=self._addresses.page(environment.id),
        )


class DeploymentSink:
    """The deployments: one for each commit of a pull request that was to run, of which the newest counts."""

    def __init__(self, store: Store, forges: Forges, addresses: Urls) -> None:
        self._announcer = Announcer(StateKind.DEPLOYMENT, store, forges, addresses)

    async def say(self, environment_id: str) -> None:
        """Have the deployment show how this environment stands. Raises what `Announcements` does."""
        subject = await self._announcer.subject(environment_id)
        if subject is None or subject.said.digest == _digest(subject.announcement):
            return
        announcement = subject.announcement
        known = await subject.forge.announcements.deployment(subject.change, announcement, subject.said.known)
        await self._announcer.remember(environment_id, replace(_as_said(announcement), known=known))


class CommitStatusSink:
    """The commits' statuses."""

    def __init__(self, store: Store, forges: Forges, addresses: Urls) -> None:
        self._announcer = Announcer(StateKind.COMMIT_STATUS, store, forges, addresses)

    async def say(self, environment_id: str) -> None:
        """Have the commit show how its preview stands. Raises what `Announcements` does."""
        subject = await self._announcer.subject(environment_id)
        if subject is None or not subject.announcement.sha:
            return
        if subject.said.waits and subject.said.sha != subject.announcement.sha:
            subject = await self._release(subject)
        announcement = _ending(subject)
        if announcement is None or subject.said.digest == _digest(announcement):
            return
        if announcement.progress is Progress.IN_PROGRESS:
            # Killed after the forge was told and before we remember it, we would leave it waiting for ever.
            await self._announcer.remember(environment_id, replace(_as_said(announcement), digest=""))
        await self._tell(subject, announcement)
        await self._announcer.remember(environment_id, _as_said(announcement))

    async def _release(self, subject: Subject) -> Subject:
        """Have the commit that was overtaken wait no more."""
        released = replace(
            subject.announcement,
            sha=subject.said.sha,
            progress=Progress.SUCCESS,
            description=OVERTAKEN,
            url="",
        )
        await self._tell(subject, released)
        said = _as_said(released)
        await self._announcer.remember(subject.picture.environment.id, said)
        return replace(subject, said=said)

    async def _tell(self, subject: Subject, announcement: Announcement) -> None:
        context = status_context(subject.picture.environment.app)
        await subject.forge.announcements.status(subject.change, announcement, context)


def _ending(subject: Subject) -> Announcement | None:
    """The announcement as a commit's status, which ends where a deployment is inactive. None where what was
    said of the commit stays true."""
    announcement, said = subject.announcement, subject.said
    if announcement.progress is not Progress.INACTIVE:
        return announcement
    same = said.sha == announcement.sha
    is_gone = subject.picture.status.state is State.GONE
    if (is_gone and not (same and said.waits)) or (same and said.progress == Progress.FAILURE):
        return None
    return replace(announcement, progress=Progress.SUCCESS)


def _as_said(announcement: Announcement) -> Said:
    return Said("", announcement.sha, announcement.progress, _digest(announcement))


def _digest(announcement: Announcement) -> str:
    return hashlib.sha256(json.dumps(asdict(announcement)).encode()).hexdigest()
