"""Previews as items of the dashboard's list: in the page, and as server-sent events."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from stager.control.control_plane import ControlPlane
from stager.control.environments.change_log import Change
from stager.control.environments.consumption import Figures
from stager.control.environments.queries import Row, Visibility
from stager.control.reporting.pr_comment_template import is_reachable_elsewhere
from stager.domain.service_status import ServiceState
from stager.domain.status import State
from stager.web.api.views import EnvironmentView, view_of
from stager.web.pages.overview.figures import in_words, shown
from stager.web.pages.overview.selection import author_of, groups_of, rank_of
from stager.web.pages.rendering import templates

TONES = {
    State.LIVE: "good",
    State.STOPPED: "calm",
    State.EXPIRED: "calm",
    State.ASLEEP: "calm",
    State.GONE: "calm",
    State.UNRESPONSIVE: "bad",
    State.DEGRADED: "bad",
    State.FAILED: "bad",
    State.FAILED_UPDATE: "bad",
    State.REFUSED: "bad",
}
"""The colour of each state's mark; `wait` for others."""
SERVICE_TONES = {
    ServiceState.HEALTHY: "good",
    ServiceState.COMPLETED: "good",
    ServiceState.FAILED: "bad",
    ServiceState.RESTARTING: "bad",
    ServiceState.STOPPED: "calm",
    ServiceState.ASLEEP: "calm",
}
"""The colour of each service's mark; `wait` for others."""
LABELS = {
    State.UNRESPONSIVE: "not responding",
    State.FAILED_UPDATE: "update failed",
    State.QUEUED: "waits for room",
    State.REFUSED: "not allowed",
    State.GONE: "removed",
}
"""The words for a state where its name isn't good enough."""
MAX_CACHED = 4_000
"""Rendered changes in memory, about 2 kB each."""
_UNITS = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min"))

templates.filters["label"] = lambda state: LABELS.get(state, str(state))
templates.filters["tone"] = lambda state: TONES.get(state, "wait")
templates.filters["service_tone"] = lambda state: SERVICE_TONES.get(state, "wait")


def age(since: datetime, now: datetime) -> str:
    """Return the time since `since` in its largest unit, such as `3 h`."""
    elapsed = now - since
    return next((f"{elapsed // unit} {name}" for unit, name in _UNITS if elapsed >= unit), "now")


def _relative(moment: datetime, now: datetime) -> str:
    """Return a moment relative to now, such as `3 h ago` or `in 2 d`, as `frame.js` does."""
    if moment > now:
        left = age(now, moment)
        return "in a moment" if left == "now" else f"in {left}"
    past = age(moment, now)
    return "just now" if past == "now" else f"{past} ago"


def words_of(view: EnvironmentView) -> str:
    """Return the text that a search looks in, in lower case."""
    change = view.change
    about = f"{change.repository} #{change.number} {change.title} {change.author}" if change else ""
    return f"{view.name} {view.app} {about} {LABELS.get(view.state, view.state)}".lower()


def matches(view: EnvironmentView, query: str) -> bool:
    """Whether a preview has all words of a search."""
    words = words_of(view)
    return all(word in words for word in query.lower().split())


def can_be_removed(view: EnvironmentView, visibility: Visibility) -> bool:
    """Whether the viewer may remove the preview, and that has an effect: removing a pull request's preview
    stops it."""
    is_stopped = view.state in (State.STOPPED, State.EXPIRED, State.REFUSED)
    return visibility.kill and view.state is not State.GONE and not (view.change and is_stopped)


def item(
    view: EnvironmentView,
    visibility: Visibility,
    now: datetime,
    figures: Figures | None = None,
    cover: str | None = None,
) -> str:
    """Return a preview as an item of the list, as HTML.

    Args:
        figures: what it uses of the machine; None while that isn't known.
        cover: the key of its picture; empty while it has none; None if no pictures are taken.
    """
    return templates.get_template("preview-item.html").render(
        view=view,
        visibility=visibility,
        removable=can_be_removed(view, visibility),
        words=words_of(view),
        created=_relative(view.created_at, now),
        visited=_relative(view.last_visit, now) if view.last_visit else "",
        expires=_relative(view.expires_at, now) if view.expires_at else "",
        groups=" ".join(groups_of(view.state, view.reason)),
        rank=rank_of(view.state),
        author=author_of(view),
        figures=in_words(figures) if figures else "",
        megabytes=shown(figures)[0] if figures else 0,
        is_elsewhere=is_reachable_elsewhere(view.url),
        cover=cover,
        with_pictures=cover is not None,
    )


def _item_of(control: ControlPlane, view: EnvironmentView, visibility: Visibility) -> str:
    figures = control.environments.consumption.figures.get(view.id)
    return item(view, visibility, control.ports.clock.now(), figures, cover_of(control, view))


def cover_of(control: ControlPlane, view: EnvironmentView) -> str | None:
    """Return the key of a preview's picture in the list; None if no pictures are taken."""
    return control.pictures.cover_of(view.id) if control.pictures.are_taken else None


def event(kind: str, position: str, data: str) -> str:
    """Return a server-sent event (WHATWG HTML, section 9.2.6). Each line of the data gets its prefix, so line
    ends in names and titles can't begin another event.

    Args:
        position: of the change, from which a reader goes on after an interruption; empty: the event has none.
    """
    lines = "".join(f"data: {line}\n" for line in data.splitlines())
    id_ = f"id: {position}\n" if position else ""
    return f"event: {kind}\n{id_}{lines or 'data:' + chr(10)}\n"


class ChangeEvents:
    """Renders changes as server-sent events: each once for all viewers with the same permissions."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, Row | None] = OrderedDict()
        self._events: OrderedDict[tuple[str, Visibility], str] = OrderedDict()
        self._reading = asyncio.Lock()

    async def render(
        self, control: ControlPlane, changes: Sequence[Change], visibilities: Mapping[str, Visibility]
    ) -> list[str]:
        """Return the events of those changes that a viewer may see.

        Args:
            visibilities: what the viewer may see of previews, by application; nothing of others.
        """
        rows = await self._rows_of(control, changes)
        return [
            self._event(control, change, replace(row, visibility=visibilities[row.environment.app]))
            for change, row in zip(changes, rows, strict=True)
            if row is not None and row.environment.app in visibilities
        ]

    async def _rows_of(self, control: ControlPlane, changes: Sequence[Change]) -> list[Row | None]:
        async with self._reading:
            missing = {change.environment for change in changes if change.position not in self._rows}
            found = await control.environments.queries.unfiltered(missing) if missing else {}
            rows = [self._rows.get(change.position, found.get(change.environment)) for change in changes]
            for change, row in zip(changes, rows, strict=True):
                self._rows[change.position] = row
            while len(self._rows) > MAX_CACHED:
                self._rows.popitem(last=False)
            return rows

    def _event(self, control: ControlPlane, change: Change, row: Row) -> str:
        key = (change.position, row.visibility)
        rendered = self._events.get(key)
        if rendered is None:
            view = view_of(control, row)
            is_gone = view.state is State.GONE
            data = view.id if is_gone else _item_of(control, view, row.visibility)
            rendered = event("removed" if is_gone else "preview", change.position, data)
            self._events[key] = rendered
            if len(self._events) > MAX_CACHED:
                self._events.popitem(last=False)
        return rendered
