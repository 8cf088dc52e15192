"""Deployments at the forge: one for each commit of a pull request that was to run; the newest counts."""

from __future__ import annotations

from dataclasses import replace

from stager.control.forges import Forges
from stager.control.reporting.announcements import AnnouncementRecords, digest_of, recorded
from stager.control.routing.urls import Urls
from stager.ports.store import StateKind, Store


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
