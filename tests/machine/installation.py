"""The machines over the fakes, put together: an installation that can ask its forge, and one that can't."""

from __future__ import annotations

import gc
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from stager.domain.pull_requests.events import ChangeAction, ChangeEvent, Event
from stager.domain.pull_requests.rules import Rules
from stager.domain.source import Change
from tests.machine.base import Terms, end_all_tasks
from tests.machine.expected import Held
from tests.machine.faults import FUSES
from tests.machine.rest import Rest

RULES = st.sampled_from([Rules(), Rules(labels=("preview",), drafts=False), Rules(without_labels=("wip",))])
CHECKED = st.just(Rules(wait_for_checks=True))
FORKS = st.sampled_from(["approve", "approve", "open", "off"])
TICKS = st.sampled_from([1.0, 0.4])
"""Two things may happen within one of the forge's seconds, or not."""


class Machine(Rest):
    """What both have in common."""

    def begin(self, tick: float = 1.0, fuse: int | None = None, terms: Terms | None = None) -> None:
        """Nothing is there yet."""
        self.do(self._build(terms or Terms(), tick))
        self.do(self._start(fuse))

    def teardown(self) -> None:
        try:
            if hasattr(self, "harness"):
                self.faults_stop()
        finally:
            self.do(end_all_tasks())
            self.loop.close()
        gc.collect(1)  # Exceptions that were never retrieved show at the end of their task.
        assert self.unheard == [], "an exception that nobody waited for"


class Installation(Machine):
    """One that can ask its forge."""

    @initialize(
        tick=TICKS,
        fuse=FUSES,
        forks=FORKS,
        rules=RULES | CHECKED,
        builds=st.booleans(),
        at_once=st.sampled_from([1, 2]),
    )
    def begin_somehow(self, tick: float, fuse: int | None, **terms: Any) -> None:
        self.begin(tick, fuse, Terms(**terms))


class WithServices(Machine):
    """One whose application has services besides."""

    @initialize(tick=TICKS, fuse=FUSES, forks=FORKS, rules=RULES)
    def begin_somehow(self, tick: float, fuse: int | None, **terms: Any) -> None:
        self.begin(tick, fuse, Terms(**terms, services=True))


class OutOfTouch(Machine):
    """One without credentials: it knows deliveries and nothing else, so these decide what should run. It can
    neither fetch a commit nor tell what comes first within a second."""

    credentials = False

    def __init__(self) -> None:
        super().__init__()
        self.reported: dict[int, Change] = {}

    @initialize(fuse=FUSES, forks=FORKS, rules=RULES)
    def begin_somehow(self, fuse: int | None, **terms: Any) -> None:
        self.begin(1.0, fuse, Terms(**terms))

    def _truths(self) -> list[Change]:
        return list(self.reported.values())

    def _know(self, event: ChangeEvent) -> None:
        """An event has no effect until it is delivered."""

    def _heard(self, event: Event) -> None:
        """Only what is newer than everything before changes anything."""
        if not isinstance(event, ChangeEvent):
            return
        change = event.change
        known = self.reported.get(change.number)
        if known is not None and known.updated_at >= change.updated_at:
            return
        self.reported[change.number] = change
        is_more = known is None or (known.head_sha, known.is_open) != (change.head_sha, change.is_open)
        if is_more or event.action is ChangeAction.REOPENED:
            self.expected.hold(change.number, Held.NO)
