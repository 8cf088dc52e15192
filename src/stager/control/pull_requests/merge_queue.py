"""Ends the status `stager/APP` at the commits that a merge queue makes, where it is a required check.

A merge queue joins several changes into a commit of its own, and merges it once the required checks have
ended there as well (GitHub docs, "Managing a merge queue"). Previews are made of changes alone, so such a
commit gets a green status that says so: the changes have shown theirs before they came into the queue.
"""

from __future__ import annotations

import structlog

from stager.control.forges import Forges
from stager.control.pull_requests.policy import status_context
from stager.control.pull_requests.repositories import application_of
from stager.domain.application import Applications
from stager.domain.environment import ChangeLink
from stager.domain.errors import StagerError
from stager.domain.pull_requests.events import MergeQueued
from stager.ports.forge import Announcement, Progress
from stager.ports.store import Store

log = structlog.get_logger(__name__)

DESCRIPTION = "Previews are made of pull requests. A merge queue's commit needs none."


class MergeQueue:
    """Answers merge queues.

    Args:
        enabled: whether commits get statuses at all.
    """

    def __init__(self, store: Store, forges: Forges, applications: Applications, *, enabled: bool) -> None:
        self._store = store
        self._forges = forges
        self._applications = applications
        self._enabled = enabled

    async def queued(self, event: MergeQueued) -> str:
        """Have the commit bear an ended status; what came of it, in words."""
        if not self._enabled:
            return "ignored: commits get no statuses"
        repository = event.repository
        application = await self._store.read(lambda tx: application_of(tx, self._applications, repository))
        forge = self._forges.of(repository.id)
        if application is None or forge is None:
            return f"ignored: no entry under images: is for {repository.full_name}"
        link = ChangeLink(repository.id, repository.owner, repository.name, 0, "", "", "", "")
        announcement = Announcement("", event.sha, Progress.SUCCESS, DESCRIPTION)
        try:
            await forge.announcements.status(link, announcement, status_context(application.name))
        except StagerError as error:
            # The driver has tried again by itself. Other deliveries mustn't wait for this one.
            log.warning("merge_queue_not_answered", sha=event.sha, reason=error.reason, error=error.message)
            return f"{error.kind}: {error.message}"
        return f"the merge queue's commit {event.sha[:7]} needs no preview"
