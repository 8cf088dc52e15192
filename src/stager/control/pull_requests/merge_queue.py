"""The status `stager/APP` of a merge queue's commits, which may be a required check.

A merge queue combines several changes into a commit of its own, and merges it once its required checks have
passed (GitHub docs, "Managing a merge queue"). There are previews of changes only, so such a commit gets a
green status that says so: the changes had their previews before they were queued.
"""

from __future__ import annotations

import structlog

from stager.control.forges import Forges
from stager.control.pull_requests.policy import status_context
from stager.control.pull_requests.repositories import application_of, no_application
from stager.domain.application import Applications
from stager.domain.environment import ChangeLink
from stager.domain.errors import StagerError
from stager.domain.pull_requests.events import MergeQueued
from stager.ports.forge import Announcement, Progress
from stager.ports.store import Store

log = structlog.get_logger(__name__)

DESCRIPTION = "Only pull requests have previews; a merge queue's commit needs none."


class MergeQueue:
    """Sets the status of merge queues' commits.

    Args:
        enabled: whether commit statuses are on.
    """

    def __init__(self, store: Store, forges: Forges, applications: Applications, *, enabled: bool) -> None:
        self._store = store
        self._forges = forges
        self._applications = applications
        self._enabled = enabled

    async def queued(self, event: MergeQueued) -> str:
        """Set the commit's status to success. Returns the outcome of the delivery."""
        if not self._enabled:
            return "ignored: commit statuses are off"
        repository = event.repository
        application = await self._store.read(lambda tx: application_of(tx, self._applications, repository))
        forge = self._forges.of(repository.id)
        if application is None or forge is None:
            return no_application(repository)
        link = ChangeLink(repository.id, repository.owner, repository.name, 0, "", "", "", "")
        announcement = Announcement("", event.sha, Progress.SUCCESS, DESCRIPTION)
        try:
            await forge.announcements.status(link, announcement, status_context(application.name))
        except StagerError as error:
            # The driver has retried. Other deliveries mustn't wait for this one.
            log.warning("merge_queue_status_failed", sha=event.sha, reason=error.reason, error=error.message)
            return f"{error.kind}: {error.message}"
        return f"the merge queue's commit {event.sha[:7]} needs no preview"
