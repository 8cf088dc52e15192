"""Which previews the dashboard lists, and in which order. A selection is stored in the page's URL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import quote, urlencode

from stager.domain.environment import UNAPPROVED
from stager.domain.status import State
from stager.web.api.views import EnvironmentView

PAGE_SIZE = 100
"""Previews in the list until somebody asks for more."""
MAX_ITEMS = 1_000
"""Previews in the list at most; a search finds the others."""
MAX_QUERY = 200
"""Characters of a search."""
NEVER = datetime.min.replace(tzinfo=UTC)


class Group(StrEnum):
    """A filter of the list. A preview may be in several groups, or in none."""

    MINE = "mine"
    """Previews of the viewer's own pull requests."""
    LIVE = "live"
    """Visitors see the application."""
    FAILED = "failed"
    """The newest commit doesn't work, or the application stopped working."""
    ASLEEP = "asleep"
    APPROVAL = "approval"
    """Code of a fork that isn't approved."""


class Sort(StrEnum):
    """An order of the list."""

    AGE = "age"
    """The newest first."""
    VISIT = "visit"
    """The one that was visited last first."""
    NAME = "name"
    STATE = "state"
    """What failed first, then what is coming up, then what is live."""
    MEMORY = "memory"
    """The largest first."""


LABELS = {
    Group.MINE: "Mine",
    Group.LIVE: "Live",
    Group.FAILED: "Failed",
    Group.ASLEEP: "Asleep",
    Group.APPROVAL: "Waiting for approval",
}
SORT_LABELS = {
    Sort.AGE: "Newest",
    Sort.VISIT: "Last visit",
    Sort.NAME: "Name",
    Sort.STATE: "State",
    Sort.MEMORY: "Memory",
}
_FAILED = frozenset({State.FAILED, State.FAILED_UPDATE, State.UNRESPONSIVE, State.DEGRADED})
_LIVE = frozenset({State.LIVE, State.UPDATING, State.DEGRADED, State.UNRESPONSIVE, State.FAILED_UPDATE})
_ASLEEP = frozenset({State.ASLEEP, State.WAKING})
_COMING_UP = frozenset({State.QUEUED, State.STARTING, State.BUILDING, State.UPDATING, State.WAKING})


def groups_of(state: State, reason: str) -> tuple[Group, ...]:
    """Return the groups of a preview by its state. `MINE` isn't among them: it depends on the viewer.

    Args:
        reason: the reason slug of the state.
    """
    found = (
        (Group.LIVE, state in _LIVE),
        (Group.FAILED, state in _FAILED),
        (Group.ASLEEP, state in _ASLEEP),
        (Group.APPROVAL, state is State.REFUSED and reason in UNAPPROVED),
    )
    return tuple(group for group, is_in in found if is_in)


def rank_of(state: State) -> int:
    """Return the place of a state in the order by state, from 0."""
    if state in _FAILED:
        return 0
    if state in _COMING_UP:
        return 1
    return 2 if state is State.LIVE else 3


def author_of(view: EnvironmentView) -> str:
    """Return the author of the preview's pull request in lower case; empty if there is none."""
    return view.change.author.lower() if view.change else ""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the list shows.

    Args:
        query: only previews with all of these words.
        group: only previews of this group; None for all.
        limit: the number of previews at most.
    """

    query: str = ""
    group: Group | None = None
    sort: Sort = Sort.AGE
    limit: int = PAGE_SIZE

    @classmethod
    def of(cls, query: str, show: str, sort: str, limit: str) -> Selection:
        """Read a selection from the parameters of a URL. Unknown values are ignored."""
        count = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 5 else PAGE_SIZE
        return cls(
            " ".join(query[:MAX_QUERY].split()),
            Group(show) if show in set(Group) else None,
            Sort(sort) if sort in set(Sort) else Sort.AGE,
            min(max(count, 1), MAX_ITEMS),
        )

    @property
    def is_everything(self) -> bool:
        """Whether it leaves out nothing, except by its limit."""
        return not self.query and self.group is None

    @property
    def url(self) -> str:
        """The URL of the page with this selection."""
        given = {
            "q": self.query,
            "show": self.group or "",
            "sort": self.sort if self.sort is not Sort.AGE else "",
            "limit": str(self.limit) if self.limit != PAGE_SIZE else "",
        }
        query = urlencode({name: value for name, value in given.items() if value}, quote_via=quote)
        return f"/?{query}" if query else "/"

    def in_group(self, group: Group | None) -> Selection:
        """The selection with another group, from the beginning of the list."""
        return replace(self, group=group, limit=PAGE_SIZE)

    def longer(self) -> Selection:
        """The selection with the next page of previews."""
        return replace(self, limit=min(self.limit + PAGE_SIZE, MAX_ITEMS))

    def has(self, groups: Sequence[Group], author: str, viewer: str) -> bool:
        """Whether a preview is in the selected group.

        Args:
            groups: those of the preview.
            author: of its pull request, in lower case.
            viewer: the name of the person who looks at the list.
        """
        if self.group is Group.MINE:
            return is_mine(author, viewer)
        return self.group is None or self.group in groups


def is_mine(author: str, viewer: str) -> bool:
    """Whether a pull request's author, in lower case, is the viewer."""
    return bool(author) and author == viewer.lower()


def ordered(
    views: Sequence[EnvironmentView], sort: Sort, memory: Callable[[str], int]
) -> list[EnvironmentView]:
    """Return previews in an order; equal ones are listed from the newest to the oldest.

    Args:
        memory: returns the memory of the environment of an id.
    """
    newest = sorted(views, key=lambda view: (view.created_at, view.id), reverse=True)
    match sort:
        case Sort.AGE:
            return newest
        case Sort.NAME:
            return sorted(newest, key=lambda view: (view.name.lower(), view.app))
        case Sort.STATE:
            return sorted(newest, key=lambda view: rank_of(view.state))
        case Sort.VISIT:
            return sorted(newest, key=lambda view: view.last_visit or NEVER, reverse=True)
        case Sort.MEMORY:
            return sorted(newest, key=lambda view: memory(view.id), reverse=True)
