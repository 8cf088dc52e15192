"""Collects what the reader finds, so that all problems of a file are reported together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from stager.project.compose.keys import Keys
from stager.project.compose.result import Note, Place, Proposal, Refusal
from stager.project.compose.value import Refused, Value

MAX_FINDINGS = 200
"""Of each kind."""

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class _Owned:
    """A finding, and the service that it is about; empty for the file."""

    service: str
    found: Note | Proposal | Refusal


class Findings:
    """Refusals, notes and proposals. Those about a service count only if that service runs."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, object], _Owned] = {}
        self._ignored: dict[tuple[str, str], Note] = {}
        self._service = ""

    @contextmanager
    def about(self, service: str) -> Iterator[None]:
        """Record findings as being about a service."""
        before, self._service = self._service, service
        try:
            yield
        finally:
            self._service = before

    def attempt(self, default: T, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `read` returns; the default if it raises `Refused`, which is recorded."""
        try:
            return read(*args, **kwargs)
        except Refused as error:
            self.refuse(error)
            return default

    def refuse(self, error: Refused) -> None:
        """Record a refusal."""
        self._add(Refusal(error.place, error.text, error.hint))

    def guess(self, place: Place, text: str) -> None:
        """Record what the file leaves open, and how it was decided."""
        self._add(Note(place, text))

    def propose(self, proposal: Proposal) -> None:
        """Record a proposal."""
        self._add(proposal)

    def ignore(self, place: Place, what: str, why: str) -> None:
        """Record that something has no effect; the same thing is listed once."""
        self._ignored.setdefault((self._service, what), Note(place, f"{what} has no effect: {why}."))

    def check(self, keys: Keys, mapping: dict[str, Value]) -> None:
        """Record the problems of a mapping's keys, and those that have no effect."""
        for error in keys.check(mapping):
            self.refuse(error)
        for key, value in keys.ignored_of(mapping):
            self.ignore(value.place, f"`{key}` of {keys.what}", keys.ignored[key])

    def refusals(self, active: Collection[str]) -> tuple[Refusal, ...]:
        """Those about the file and the active services, by their place."""
        found = [each for each in self._of(active) if isinstance(each, Refusal)]
        return tuple(sorted(found, key=_place))[:MAX_FINDINGS]

    def guesses(self, active: Collection[str]) -> tuple[Note, ...]:
        """Those about the file and the active services, by their place."""
        found = [each for each in self._of(active) if isinstance(each, Note)]
        return tuple(sorted(found, key=_place))[:MAX_FINDINGS]

    def proposals(self, active: Collection[str]) -> tuple[Proposal, ...]:
        """Those about the file and the active services: of each missing file, the one with most variables."""
        found: dict[str, Proposal] = {}
        for each in self._of(active):
            if isinstance(each, Proposal):
                found[each.file] = max(found.get(each.file, each), each, key=lambda one: len(one.variables))
        return tuple(found.values())[:MAX_FINDINGS]

    def ignored(self, active: Collection[str]) -> tuple[Note, ...]:
        """What has no effect, each once."""
        found: dict[str, Note] = {}
        for (service, what), note in self._ignored.items():
            if not service or service in active:
                found.setdefault(what, note)
        return tuple(sorted(found.values(), key=_place))[:MAX_FINDINGS]

    def _add(self, found: Note | Proposal | Refusal) -> None:
        self._all.setdefault((self._service, found), _Owned(self._service, found))

    def _of(self, active: Collection[str]) -> Iterator[Note | Proposal | Refusal]:
        owned = (each.found for each in self._all.values() if not each.service or each.service in active)
        return iter(dict.fromkeys(owned))


def _place(found: Note | Refusal) -> tuple[str, int]:
    return found.place.file, found.place.line
