"""Commit statuses at the forge.

A status must end, or a branch that requires it can never be merged. Therefore a commit without a preview gets
a green status that says why, as GitHub counts a skipped job as passed (GitHub docs, "Troubleshooting required
status checks"); a pending status is stored before it is sent; and the status of an overtaken commit is ended
before its successor's is set.
"""

from __future__ import annotations

from dataclasses import replace

from stager.control.forges import Forges
from stager.control.pull_requests.policy import status_context
from stager.control.reporting.deployments import (
    PENDING,
    AnnouncementContext,
    AnnouncementRecords,
    digest_of,
    recorded,
)
from stager.control.routing.urls import Urls
from stager.domain.status import State
from stager.ports.forge import Announcement, Progress
from stager.ports.store import StateKind, Store

OVERTAKEN = "Another commit replaced this one before its preview was live."


class CommitStatusSink:
    """Reports environments as statuses of their commits."""

    def __init__(self, store: Store, forges: Forges, addresses: Urls) -> None:
        self._records = AnnouncementRecords(StateKind.COMMIT_STATUS, store, forges, addresses)

    async def report(self, environment_id: str) -> None:
        """Set the status of this environment's commit. Raises what `Announcements` does."""
        context = await self._records.context(environment_id)
        if context is None or not context.announcement.sha:
            return
        if context.last.is_pending and context.last.sha != context.announcement.sha:
            context = await self._end_overtaken(context)
        announcement = _announcement_of(context)
        if announcement is None or context.last.digest == digest_of(announcement):
            return
        if announcement.progress in PENDING:
            # If Stager is killed between sending and storing, the next start still knows that it is pending.
            await self._records.save(environment_id, replace(recorded(announcement), digest=""))
        await self._send(context, announcement)
        await self._records.save(environment_id, recorded(announcement))

    async def _end_overtaken(self, context: AnnouncementContext) -> AnnouncementContext:
        """End the pending status of the commit before."""
        ended = replace(
            context.announcement,
            sha=context.last.sha,
            progress=Progress.SUCCESS,
            description=OVERTAKEN,
            url="",
        )
        await self._send(context, ended)
        last = recorded(ended)
        await self._records.save(context.state.environment.id, last)
        return replace(context, last=last)

    @staticmethod
    async def _send(context: AnnouncementContext, announcement: Announcement) -> None:
        name = status_context(context.state.environment.app)
        await context.forge.announcements.status(context.change, announcement, name)


def _announcement_of(context: AnnouncementContext) -> Announcement | None:
    """The announcement as a commit status, which succeeds where a deployment is inactive. None where the last
    status is still right."""
    announcement, last = context.announcement, context.last
    if announcement.progress is not Progress.INACTIVE:
        return announcement
    is_same_commit = last.sha == announcement.sha
    is_gone = context.state.status.state is State.GONE
    if (is_gone and not (is_same_commit and last.is_pending)) or (
        is_same_commit and last.progress == Progress.FAILURE
    ):
        return None
    return replace(announcement, progress=Progress.SUCCESS)
