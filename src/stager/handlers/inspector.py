"""Logs events and calls, for authors of listeners."""

from __future__ import annotations

import logging
from dataclasses import asdict

from stager.domain.pull_requests.events import Call, ChangeEvent
from stager.ports.handlers import EVERY_ACTION, EventListener

log = logging.getLogger(__name__)


class RequestInspector(EventListener):
    """Logs every event, and every call without its parameters' values, and leaves them to the next
    listener."""

    actions = (EVERY_ACTION,)
    requires_authentication = False

    async def handle(self, event: ChangeEvent | Call) -> None:
        if isinstance(event, Call):
            # Values may be tokens.
            log.info("call %s with %s", event.name, ", ".join(sorted(event.parameters)) or "no parameters")
        else:
            log.info("%s of %s: %s", event.action.value, event.app, asdict(event.change))
