"""Deployments at the forge: one for each commit of a pull request that was to run; the newest counts.

Also what deployments and commit statuses have in common: the announcement of an environment's state, and the
record of the last one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from stager.control.forges import Forges
from stager.control.reporting.reporter import ReportState, report_state_of
from stager.control.routing.urls import Urls
from stager.domain.deployment import deployed_sha
from stager.domain.environment import ChangeLink
from stager.domain.status import State
from stager.ports.forge import Announcement, Forge, Progress
from stager.ports.store import StateKind, Store

PROGRESS: Mapping[State, Progress] = {
    State.QUEUED: Progress.QUEUED,
    State.STARTING: Progress.IN_PROGRESS,
    State.BUILDING: Progress.IN_PROGRESS,
    State.UPDATING: Progress.IN_PROGRESS,
    State.LIVE: Progress.SUCCESS,
    State.UNRESPONSIVE: Progress.SUCCESS,
    State.DEGRADED: Progress.SUCCESS,
    State.ASLEEP: Progress.SUCCESS,
    State.WAKING: Progress.SUCCESS,
    State.FAILED: Progress.FAILURE,
    State.FAILED_UPDATE: Progress.FAILURE,
    State.STOPPED: Progress.INACTIVE,
    State.EXPIRED: Progress.INACTIVE,
    State.REFUSED: Progress.INACTIVE,
    State.GONE: Progress.INACTIVE,
}
"""The deployment's progress in each state. Nothing is deployed for a refused preview."""
PENDING = frozenset({Progress.IN_PROGRESS, Progress.QUEUED})
"""The progress that the forge shows as a pending commit status."""


@dataclass(frozen=True, slots=True)
class LastAnnouncement:
    """What was announced last about an environment.

    Args:
        known: the forge's name for the deployment.
        sha: the announced commit.
        progress: the announced progress.
        digest: of the whole announcement; empty while its delivery is unconfirmed.
    """

    known: str = ""
    sha: str = ""
    progress: str = ""
    digest: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether the forge may show the commit as pending."""
        return self.progress in PENDING


@dataclass(frozen=True, slots=True)
class AnnouncementContext:
    """An announcement with what is needed to make it.

    Args:
        last: what was announced before.
    """

    state: ReportState
    change: ChangeLink
    forge: Forge
    announcement: Announcement
    last: LastAnnouncement


class AnnouncementRecords:
    """Composes announcements, and stores what was announced last.

    Args:
        kind: under which the record is stored.
    """

    def __init__(self, kind: StateKind, store: Store, forges: Forges, addresses: Urls) -> None:
        self._kind = kind
        self._store = store
        self._forges = forges
        self._addresses = addresses

    async def context(self, environment_id: str) -> AnnouncementContext | None:
        """The announcement for this environment; None when it has no pull request at a configured forge."""
        state, record = await self._store.read(
            lambda tx: (report_state_of(tx, environment_id), tx.environment_state(environment_id, self._kind))
        )
        change = state.environment.change if state else None
        forge = self._forges.of(change.repository_id) if change else None
        if state is None or change is None or forge is None:
            return None
        last = LastAnnouncement(**json.loads(record)) if record else LastAnnouncement()
        return AnnouncementContext(state, change, forge, self._announcement(state, change), last)

    async def save(self, environment_id: str, last: LastAnnouncement) -> None:
        """Store what was announced."""
        record = json.dumps(asdict(last))
        await self._store.write(lambda tx: tx.save_environment_state(environment_id, self._kind, record))

    def _announcement(self, state: ReportState, change: ChangeLink) -> Announcement:
        environment, status = state.environment, state.status
        progress = PROGRESS[status.state]
        return Announcement(
            environment=f"preview/{environment.app}/pr-{change.number}",
            sha=deployed_sha(environment, state.deployment),
            progress=progress,
            description=status.message,
            # While a newer commit starts, or after it failed, the URL serves another commit.
            url=self._addresses.url(environment.host) if progress is Progress.SUCCESS else "",
            log_url=self._addresses.page(environment.id),
        )


def recorded(announcement: Announcement) -> LastAnnouncement:
    """The record of an announcement that was made."""
    return LastAnnouncement("", announcement.sha, announcement.progress, digest_of(announcement))


def digest_of(announcement: Announcement) -> str:
    """SHA-256 of an announcement's fields, in hex."""
    return hashlib.sha256(json.dumps(asdict(announcement)).encode()).hexdigest()


class DeploymentSink:
    """Reports environments as deployments."""

    def __init__(self, store: Store, forges: Forges, addresses: Urls) -> None:
        self._records = AnnouncementRecords(StateKind.DEPLOYMENT, store, forges, addresses)

    async def report(self, environment_id: str) -> None:
        """Create or update the deployment of this environment. Raises what `Announcements` does."""
        context = await self._records.context(environment_id)
        if context is None or context.last.digest == digest_of(context.announcement):
            return
        announcement, announcements = context.announcement, context.forge.announcements
        known = await announcements.deployment(context.change, announcement, context.last.known)
        await self._records.save(environment_id, replace(recorded(announcement), known=known))
