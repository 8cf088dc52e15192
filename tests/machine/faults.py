"""What goes wrong in the machine over the fakes: parts are killed, unreachable, slow, or answer nonsense."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from stager.domain.environment import Instance
from stager.domain.route import RouteTable
from stager.testing import FaultMode
from stager.testing.fakes.sources import SourceFaultMode
from tests.machine.base import BaseMachine
from tests.machine.expected import Held

PASSES = st.sampled_from([0.0, 0.05, 0.5, 3.0, 45.0, 400.0])
"""Seconds: within a step, between two, until the next pass, until the next resync."""
FUSES = st.none() | st.integers(0, 120)
"""After how many calls of the world outside a control plane dies; None: not by itself."""
MOODS = st.sampled_from(
    [
        FaultMode.WELL,
        FaultMode.SLOW,
        FaultMode.FAILING,
        FaultMode.PARTIAL,
        FaultMode.EMPTY,
        FaultMode.SHORT,
        FaultMode.REFUSING,
    ]
)
SOURCE_MOODS = st.sampled_from([SourceFaultMode.WELL, SourceFaultMode.SLOW, SourceFaultMode.AWAY])
CALLS = st.sampled_from(["find", "find_with_labels", "create", "start", "remove", "answers", "logs"])


class Faults(BaseMachine):
    """Nothing is spared."""

    @rule(fuse=FUSES, database_lost=st.sampled_from([False, False, True]), passing=PASSES)
    def control_plane_dies(self, fuse: int | None, database_lost: bool, passing: float) -> None:
        """`kill -9`; after a while another one starts, which may die at any line as well."""
        self.do(self._die())
        if database_lost and self.credentials and not self.is_replaced:
            self._lose_database()
        self.do(self.harness.rest(passing))
        self.do(self._start(fuse))

    def _lose_database(self) -> None:
        """What is there is known again; and what the engine is about to make or to remove may be, or not."""
        self.harness.store = type(self.harness.store)()
        for name in self.expected.names:
            in_doubt = {None, *self.expected.versions(name)} if self.engine.under_way else set()
            self.expected.runs(name, *self._versions_labelled(name), *in_doubt)
        for change in self._truths():
            running = self._running_of(change.number)
            if running is not None:
                self.adopted.add((change.number, running))
            self.expected.hold(change.number, Held.NO)
            self.expected.lets_run(change.number, None)

    @rule(passing=PASSES, table_lost=st.sampled_from([False, False, True]))
    def front_dies(self, passing: float, table_lost: bool) -> None:
        self.harness.router.leave()
        if table_lost:
            self.harness.router.table = RouteTable()
        self.do(self.harness.rest(passing))
        self.harness.router.come_back()

    @rule(seconds=st.sampled_from([0.0, 0.1, 2.0]))
    def front_is_slow(self, seconds: float) -> None:
        self.harness.router.delay = seconds

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: self.engine.there())
    def container_removed(self, which: int) -> None:
        instance = _one_of(self.engine.there(), which)
        labels = self.engine.spec(instance.id).labels
        self.engine.lose(instance.id)
        if labels.change is None and not self._is_known(labels.environment):
            for version in self._versions_labelled(labels.name):
                self.expected.may_run(labels.name, version)  # That is all that is left of a wish.

    @rule(which=st.integers(0, 9), exit_code=st.sampled_from([0, 1, 137, 143]))
    @precondition(lambda self: self._to_stop())
    def container_stopped(self, which: int, exit_code: int) -> None:
        """Killed at any time, or ended by itself; but what does that before it answers rightly fails."""
        instance = _one_of(self._to_stop(), which)
        self.stops[instance.deployment] += 1
        self.engine.end(instance.id, exit_code if self._has_answered(instance) else 137)

    @rule()
    def engine_leaves(self) -> None:
        self.engine.leave()

    @rule()
    def engine_comes_back(self) -> None:
        self.engine.come_back()

    @rule(passing=PASSES, exit_code=st.sampled_from([137, 143]))
    @precondition(lambda self: len(self._to_stop()) == len(self._running()))
    def engine_is_restarted(self, passing: float, exit_code: int) -> None:
        """Everything ends with it, without an event."""
        self.engine.leave()
        for instance in self._to_stop():
            self.stops[instance.deployment] += 1
            self.engine.end(instance.id, exit_code)
        self.do(self.harness.rest(passing))
        self.engine.come_back()

    @rule(call=CALLS, seconds=st.sampled_from([0.0, 0.1, 5.0]))
    def engine_is_slow(self, call: str, seconds: float) -> None:
        self.engine.delays[call] = seconds

    @rule(fault_mode=MOODS)
    def forge_in_a_mood(self, fault_mode: FaultMode) -> None:
        self.harness.forge.fault_mode = fault_mode

    @rule(fault_mode=SOURCE_MOODS)
    @precondition(lambda self: self.terms.builds)
    def repositories_in_a_mood(self, fault_mode: SourceFaultMode) -> None:
        self.harness.sources.fault_mode = fault_mode

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: self.harness.builder.images)
    def image_removed(self, which: int) -> None:
        """By an administrator who needed room on the disk; Docker keeps those that are used."""
        images = sorted(self.harness.builder.images)
        self.harness.builder.lose(self.harness.builder.made_by(images[which % len(images)]).key)

    @rule(seconds=PASSES)
    def time_passes(self, seconds: float) -> None:
        self.do(self.harness.rest(seconds))

    def _all_is_well_again(self) -> None:
        self.engine.come_back()
        self.engine.delays.clear()
        self.harness.router.delay = 0.0
        self.harness.forge.fault_mode = FaultMode.WELL
        self.harness.sources.fault_mode = SourceFaultMode.WELL


def _one_of(instances: list[Instance], which: int) -> Instance:
    return instances[which % len(instances)]
