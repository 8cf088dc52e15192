"""The previews that Stager's start page shows to anybody, if `public_list` allows it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from stager.control.control_plane import ControlPlane
from stager.control.environments.queries import Row
from stager.control.reconciler.status_page import live_status
from stager.domain.status import State

CACHED_SECONDS = 5.0
"""For this long, all visitors get the same list: the page needs no credentials, so anybody may ask often."""
MAX_SHOWN = 100


@dataclass(frozen=True, slots=True)
class PublicPreview:
    """What anybody may know about a preview."""

    name: str
    state: State
    url: str


class PublicList:
    """Reads the public previews, the newest first."""

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._previews: list[PublicPreview] = []
        self._reading = asyncio.Lock()

    async def previews(self, control: ControlPlane) -> list[PublicPreview]:
        """Return the public previews of configured applications. Private ones are left out, and those that
        have no application to open."""
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if now - self._read_at >= CACHED_SECONDS:
                rows = await control.environments.queries.all()
                found = [_shown(control, row) for row in reversed(rows) if _is_public(control, row)]
                self._previews, self._read_at = found[:MAX_SHOWN], now
            return self._previews


def _is_public(control: ControlPlane, row: Row) -> bool:
    environment = row.environment
    if environment.key.is_of_snapshot or not environment.desired.keeps_instances:
        return False
    is_configured = any(application.name == environment.app for application in control.applications)
    return is_configured and control.routing.visitor_access.privacy(environment) is None


def _shown(control: ControlPlane, row: Row) -> PublicPreview:
    status = live_status(row.environment, row.deployment, control.builds.queue)
    return PublicPreview(row.environment.name, status.state, control.routing.urls.url(row.environment.host))
