"""The number of previews in each group, for the filters of all open dashboards. It follows the change log, so
that a change costs the reading of one preview."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stager.control.control_plane import ControlPlane
from stager.control.environments.queries import Row
from stager.control.reconciler.status_page import live_status
from stager.domain.status import State
from stager.web.pages.overview.selection import Group, groups_of

ALL = "all"
"""The name of the number of all previews."""


@dataclass(frozen=True, slots=True)
class Counted:
    """One preview as it is counted.

    Args:
        author: of its pull request, in lower case.
    """

    app: str
    state: State
    groups: tuple[Group, ...]
    author: str


class Tally:
    """Counts previews by application, group and author."""

    def __init__(self) -> None:
        self._counted: dict[str, Counted] = {}
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._authors: Counter[tuple[str, str]] = Counter()
        self._states: Counter[State] = Counter()
        self._apps: frozenset[str] = frozenset()
        self._position = ""
        self._reading = asyncio.Lock()

    async def refresh(self, control: ControlPlane) -> None:
        """Read what has changed since the last time."""
        async with self._reading:
            changes = control.environments.change_log
            if self._position == changes.position:
                return
            position, news = changes.position, changes.since(self._position)
            if news is None:
                self._clear()
            ids = None if news is None else {change.environment for change in news}
            rows = await self._read(control, ids)
            for id_ in set(rows) | (ids or set()):
                self._count(control, id_, rows.get(id_))
            configured = {application.name for application in control.applications}
            self._apps = frozenset({app for app, name in self._numbers if name == ALL} | configured)
            self._position = position

    async def _read(self, control: ControlPlane, ids: Collection[str] | None) -> Mapping[str, Row]:
        queries = control.environments.queries
        if ids is None:
            return {row.environment.id: row for row in await queries.all()}
        return await queries.unfiltered(ids)

    def _clear(self) -> None:
        self._counted.clear()
        self._numbers.clear()
        self._authors.clear()
        self._states.clear()

    def _count(self, control: ControlPlane, id_: str, row: Row | None) -> None:
        if (before := self._counted.pop(id_, None)) is not None:
            self._add(before, -1)
        if row is None:
            return
        status = live_status(row.environment, row.deployment, control.builds.queue)
        if status.state is State.GONE:
            return
        change = row.environment.change
        author = change.author.lower() if change else ""
        counted = Counted(row.environment.app, status.state, groups_of(status.state, status.reason), author)
        self._counted[id_] = counted
        self._add(counted, 1)

    def _add(self, counted: Counted, number: int) -> None:
        for name in (ALL, *counted.groups):
            self._numbers[counted.app, name] += number
        self._states[counted.state] += number
        if counted.author:
            self._authors[counted.app, counted.author] += number

    @property
    def apps(self) -> frozenset[str]:
        """The applications that are configured, and those that have or had previews."""
        return self._apps

    @property
    def position(self) -> str:
        """The position in the change log up to which it has counted."""
        return self._position

    def app_of(self, environment_id: str) -> str:
        """Return the application of an environment; empty if it is unknown."""
        counted = self._counted.get(environment_id)
        return counted.app if counted else ""

    def in_state(self, state: State) -> int:
        """Return the number of all previews in a state."""
        return self._states[state]

    def numbers(self, apps: Collection[str], viewer: str) -> dict[str, int]:
        """Return the number of previews in each group.

        Args:
            apps: the applications whose previews are counted.
            viewer: the name of the person whose own previews are counted.
        """
        found = {str(name): sum(self._numbers[app, name] for app in apps) for name in (ALL, *Group)}
        return {**found, Group.MINE.value: sum(self._authors[app, viewer.lower()] for app in apps)}
