"""Snapshots in the machine over the fakes: taken, masked, cloned and deleted, and previews are reset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from stager.domain.environment import Environment, Instance
from stager.domain.errors import StagerError
from stager.domain.snapshot import CreateSnapshot, FromPreview, Snapshot, SnapshotState
from stager.domain.source import Trust
from stager.ports.data import VolumeKey
from stager.ports.engine import Ran
from tests.machine.base import MASK, Terms
from tests.machine.faults import FUSES
from tests.machine.installation import FORKS, RULES, TICKS, Machine
from tests.unit.control.harness import ANN

WHICH = st.integers(0, 5)
"""Chooses one of those that there are."""


class WithSnapshots(Machine):
    """An installation whose databases are cloned from snapshots."""

    @initialize(tick=TICKS, fuse=FUSES, forks=FORKS, rules=RULES)
    def begin_somehow(self, tick: float, fuse: int | None, **terms: Any) -> None:
        self.begin(tick, fuse, Terms(**terms, services=True, clones=True))
        self.harness.data.scripts[MASK] = _mask

    async def _die(self) -> None:
        await super()._die()
        self.harness.data.lose_benches()

    def _snapshots(self) -> list[Snapshot]:
        return self._peek(lambda tx: tx.snapshots())

    def _serving(self) -> list[Environment]:
        """Previews of our own code that visitors see."""
        present = self._peek(lambda tx: tx.environments(present=True))
        return [
            e
            for e in present
            if e.serving is not None and e.desired.should_run and e.desired.trust is Trust.TRUSTED
        ]

    @rule(which=WHICH, wait=st.sampled_from([0.0, 0.5, 30.0]))
    @precondition(lambda self: self._alive)
    def take_a_snapshot(self, which: int, wait: float) -> None:
        found = self._serving()
        if not found:
            return
        environment = found[which % len(found)]
        for key, files in self.engine.stored.files.items():
            if key.environment == environment.id:
                files["rows"] = "real"
        snapshots = self.harness.running.control_plane.data.snapshots
        request = CreateSnapshot("shop", FromPreview(environment.id))
        try:
            self._answered(snapshots.create(request, ANN))
        except StagerError:
            return
        self.do(self.harness.rest(wait))

    @rule(which=WHICH)
    @precondition(lambda self: self._alive and self._snapshots())
    def delete_a_snapshot(self, which: int) -> None:
        found = self._snapshots()
        snapshots = self.harness.running.control_plane.data.snapshots
        try:
            self._answered(snapshots.delete(found[which % len(found)].id, ANN))
        except StagerError:
            return

    @rule(which=WHICH)
    @precondition(lambda self: self._alive)
    def reset_a_preview(self, which: int) -> None:
        found = [each for each in self._serving() if each.change is None]
        if not found:
            return
        try:
            self._answered(self.harness.running.commands.reset(found[which % len(found)].id, ANN))
        except StagerError:
            return

    @invariant()
    def only_complete_and_masked_snapshots_are_ready(self) -> None:
        if not hasattr(self, "harness"):
            return
        for snapshot in self._snapshots():
            if snapshot.state is SnapshotState.READY:
                files = self.engine.stored.snapshots.get(snapshot.id)
                assert files is not None, "a snapshot is ready without files"
                assert files.keys() == {"data"}
                assert files["data"].get("rows") != "real", "a snapshot is ready and isn't masked"

    @invariant()
    def cloned_data_is_private(self) -> None:
        """The front never sends visitors to cloned data without asking who they are."""
        if not hasattr(self, "harness"):
            return
        table = self.harness.router.table
        for environment in self._peek(lambda tx: tx.environments(present=True)):
            cloned = [i for i in self.engine.there(environment.id) if self._is_cloned(i)]
            served = self.harness.served(environment.host)
            if served is not None and any(i.generation == served.generation for i in cloned):
                policy = table.policies.get(environment.host)
                assert policy is not None, "cloned data is public"
                assert policy.guard is not None, "cloned data is public"

    def _is_cloned(self, instance: Instance) -> bool:
        return bool(self.engine.spec(instance.id).clones)

    async def _nothing_is_left_over(self, running: list[Instance]) -> None:
        await super()._nothing_is_left_over(running)
        found = await self.harness.store.read(lambda tx: tx.snapshots())
        assert {each.state for each in found} <= {SnapshotState.READY, SnapshotState.FAILED}
        ready = {each.id for each in found if each.is_ready}
        assert self.engine.stored.snapshots.keys() == ready, "files of a snapshot are left, or lost"
        assert not self.harness.data.benches, "a workbench is left"
        used = {
            VolumeKey(i.environment, name, self.engine.spec(i.id).number_of(name))
            for i in running
            for name in (m.volume for m in self.engine.spec(i.id).container.mounts if m.volume)
        }
        assert self.engine.stored.files.keys() >= used, "a volume is lost"
        generations = {(i.environment, i.generation) for i in running}
        left = self.engine.stored.files.keys() - used
        # Also those of instances that are kept, which outlive the volumes' own services.
        assert {(key.environment, key.number) for key in left} <= generations, "a volume is left"


def _mask(volumes: Mapping[str, dict[str, str]]) -> Ran:
    files = volumes["data"]
    if files:
        files["rows"] = "masked"
    return Ran(0, "")
