"""The current state of a change, as its forge reports it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from stager.control.forges import Forges
from stager.domain.errors import StagerError
from stager.domain.pull_requests.events import ChangeAction, ChangeEvent
from stager.domain.source import Change
from stager.ports.clock import Clock

log = structlog.get_logger(__name__)

PAUSE_AFTER_FAILURE = timedelta(seconds=60)
"""No requests for current state after a failed one. Otherwise each delivery would wait for a forge that is
down."""


class CurrentChanges:
    """Replaces the state that an event carries with the forge's current one."""

    def __init__(self, forges: Forges, clock: Clock) -> None:
        self._forges = forges
        self._clock = clock
        self._paused_until = datetime.min.replace(tzinfo=UTC)

    async def refresh(self, event: ChangeEvent) -> ChangeEvent:
        """The event with the change's current state; unchanged where the forge can't be asked."""
        forge = self._forges.of(event.change.repository.id)
        if forge is None or self._clock.now() < self._paused_until:
            return event
        try:
            current = await forge.changes.change(event.change.repository, event.change.number)
        except StagerError as error:
            log.warning("change_refresh_failed", reason=error.reason, error=error.message)
            self._paused_until = self._clock.now() + PAUSE_AFTER_FAILURE
            return event
        if current is None or current.updated_at < event.change.updated_at:
            return event
        fresh = replace(current, head_before=event.change.head_before)
        return ChangeEvent(action_for(current, event.action), fresh, confirmed=True)


def action_for(change: Change, reported: ChangeAction) -> ChangeAction:
    """The action of an event about a change in this state: the reported one, unless it is out of date."""
    if not change.is_open:
        return ChangeAction.CLOSED
    return ChangeAction.SYNCHRONIZE if reported is ChangeAction.CLOSED else reported
