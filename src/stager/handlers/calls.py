"""Answers calls: requests to `/event_receiver` with the parameter `action`."""

from __future__ import annotations

import json

from stager.domain.commands import Reply
from stager.domain.pull_requests.events import Call, ChangeEvent
from stager.ports.handlers import EventListener, Preview, Previews


class StatusReport(EventListener):
    """Answers `action=status` with the running previews that the caller may see, as JSON; `image_name`
    filters by application."""

    actions = ("status",)

    def __init__(self, previews: Previews) -> None:
        self._previews = previews

    async def handle(self, event: ChangeEvent | Call) -> Reply | None:
        if isinstance(event, ChangeEvent):
            return None
        visible = await self._previews.seen_by(event.actor, event.parameters.get("image_name", ""))
        return Reply(json.dumps([_row(preview) for preview in visible]), "application/json")


def _row(preview: Preview) -> dict[str, object]:
    return {
        "image_name": preview.image_name,
        "container_name": preview.container_name,
        "url": preview.url,
        "started_at": preview.started_at.isoformat() if preview.started_at else None,
        "services": [
            {"name": each.name, "state": each.state.value, "url": each.url} for each in preview.services
        ],
    }
