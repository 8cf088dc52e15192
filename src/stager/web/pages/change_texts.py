"""The rounds in which all open streams send changes, and the text that they send."""

from __future__ import annotations

import asyncio
import json

from stager.control.control_plane import ControlPlane
from stager.control.environments.change_log import ChangeLog
from stager.web.pages.overview.shared_answers import SharedAnswers
from stager.web.pages.overview.shared_checks import Audience
from stager.web.pages.overview.tally import Tally
from stager.web.pages.preview_items import ChangeEvents, event

COALESCE_SECONDS = 0.5
"""Changes of this long are sent together."""
KEPT_SECONDS = 2 * COALESCE_SECONDS
"""For this long, a text is kept for streams that come later."""


class Rounds:
    """Lets all streams read changes at the same moments. They then have the same position in the log, and can
    send the same text."""

    def __init__(self) -> None:
        self._current: asyncio.Future[str] | None = None

    async def next(self, changes: ChangeLog, position: str, seconds: float) -> str:
        """Wait for changes after a position, and for the end of the round in which they are collected.
        Returns the position at its end; the given one if there are no changes within these seconds."""
        if not await changes.wait(position, seconds):
            return position
        if self._current is None or self._current.done():
            self._current = asyncio.ensure_future(_collected(changes))
        return await asyncio.shield(self._current)


async def _collected(changes: ChangeLog) -> str:
    await asyncio.sleep(COALESCE_SECONDS)
    return changes.position


class ChangeTexts:
    """Makes the events of a round once for all viewers who have the same rights and the same position."""

    def __init__(self) -> None:
        self._events = ChangeEvents()
        self._texts = SharedAnswers(KEPT_SECONDS)

    async def changes(self, control: ControlPlane, after: str, until: str, audience: Audience) -> bytes:
        """Return the events of the changes between two positions; empty if the audience may see none."""

        async def ask() -> bytes:
            changes = control.environments.change_log.since(after, until)
            if changes is None:
                return event("reload", until, "").encode()
            return "".join(await self._events.render(control, changes, dict(audience))).encode()

        return await self._texts.once(("changes", after, until, audience), ask)

    async def numbers(self, tally: Tally, audience: Audience, viewer: str) -> bytes:
        """Return the event with the numbers at the filters.

        Args:
            viewer: the viewer's name.
        """

        async def ask() -> bytes:
            numbers = tally.numbers([app for app, _ in audience], viewer)
            return event("numbers", "", json.dumps(numbers)).encode()

        return await self._texts.once(("numbers", tally.position, audience, viewer), ask)
