"""`kill -9` at every point while a snapshot is taken, masked, cloned or deleted, and during a reset.

As in `reconciler/test_kill.py`: each scenario runs once undisturbed, then once for each of its points. At no
point is a half snapshot or an unmasked one used, anything left, or anything lost that is in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from stager.domain.environment import Environment, InstanceState
from stager.domain.service import VolumePolicy
from stager.domain.snapshot import (
    CreateSnapshot,
    DataRules,
    FromCommand,
    FromPreview,
    Snapshot,
    SnapshotState,
)
from stager.domain.status import State
from stager.ports.engine import Ran
from tests.length import LONGER
from tests.unit.control.data.test_snapshots import DataHarness, shop
from tests.unit.control.harness import ANN
from tests.unit.control.tripwire import Tripwire

FINISHED = 120.0
SETTLED = 150.0
"""Seconds in which a full reconciliation and the repair of snapshots have run."""
POINTS = 30 if LONGER == 1 else 10_000
"""Points of one scenario that are played: all with `LONGER`, else a sample of even distance."""


class Scenario:
    """Something that happens to the data of previews."""

    rules = DataRules(mask={"db": "mask it"})
    policy = VolumePolicy.CLONE

    def __init__(self, harness: DataHarness) -> None:
        self.harness = harness
        harness.data.scripts["mask it"] = _mask

    async def before(self) -> None:
        self.first = await self.harness.filled("main", rows="real")

    async def happen(self) -> None:
        raise NotImplementedError

    async def at_the_end(self) -> None:
        raise NotImplementedError

    async def listed(self) -> list[Snapshot]:
        return await self.harness.store.read(lambda tx: tx.snapshots())

    def promise(self) -> str:
        """What holds at every point: each snapshot that is ready has masked files."""
        for snapshot in self.harness.store._tables.snapshots.values():
            files = self.harness.engine.stored.snapshots.get(snapshot.id)
            if snapshot.state is SnapshotState.READY and files != {"data": {"rows": "masked"}}:
                return f"a snapshot is ready with {files}"
        return ""

    async def assert_sound(self) -> None:
        """Nothing is half done, and nothing is left."""
        ready = [each for each in await self.listed() if each.is_ready]
        assert {each.state for each in await self.listed()} <= {SnapshotState.READY, SnapshotState.FAILED}
        self.harness.assert_no_leftovers(*ready)
        for environment in await self.harness.environments(present=True):
            await self.assert_live(environment)
        present = {each.id for each in await self.harness.environments(present=True)}
        assert {volume[0] for volume in self.harness.engine.volume_names} <= present

    async def assert_live(self, environment: Environment) -> None:
        assert not environment.key.is_of_snapshot
        assert (await self.harness.status(environment)).state is State.LIVE
        states = {i.state for i in self.harness.engine.there(environment.id)}
        assert states == {InstanceState.RUNNING}
        assert len(self.harness.engine.there(environment.id)) == 2


def _mask(volumes: object) -> Ran:
    files = volumes["data"]  # type: ignore[index]
    if files:
        files["rows"] = "masked"
    return Ran(0, "")


class Taken(Scenario):
    async def happen(self) -> None:
        request = CreateSnapshot("shop", FromPreview(self.first.id))
        begun = await self.harness.snapshotting.snapshots.create(request, ANN)
        await self.harness.snapshotting.making.wait(begun.id, FINISHED)

    async def at_the_end(self) -> None:
        await self.assert_sound()
        assert self.harness.volume(self.first) == {"rows": "real"}
        again = await self.harness.ready(FromPreview(self.first.id))
        assert self.harness.saved(again) == {"rows": "masked"}


class Seeded(Scenario):
    async def happen(self) -> None:
        begun = await self.harness.snapshotting.snapshots.create(
            CreateSnapshot("shop", FromCommand("bin/seed")), ANN
        )
        await self.harness.snapshotting.making.wait(begun.id, FINISHED)

    def promise(self) -> str:
        return ""  # its data is empty

    async def at_the_end(self) -> None:
        await self.assert_sound()
        assert len(await self.harness.environments(present=True)) == 1


class Cloned(Scenario):
    async def before(self) -> None:
        await super().before()
        await self.harness.ready(FromPreview(self.first.id))

    async def happen(self) -> None:
        await self.harness.launch("feature")

    async def at_the_end(self) -> None:
        await self.assert_sound()
        for environment in await self.harness.environments(present=True):
            if environment.name == "feature":
                assert self.harness.volume(environment) == {"rows": "masked"}
                assert environment.has_cloned_data


class Reset(Scenario):
    rules = DataRules()
    policy = VolumePolicy.KEEP

    async def happen(self) -> None:
        await self.harness.running.commands.reset(self.first.id, ANN)

    async def at_the_end(self) -> None:
        await self.assert_sound()
        was_requested = (await self.harness.the(self.first)).volume_epoch
        assert self.harness.volume(self.first) == ({} if was_requested else {"rows": "real"})
        assert len(self.harness.engine.volume_names) == 1


class Deleted(Scenario):
    async def before(self) -> None:
        await super().before()
        self.snapshot = await self.harness.ready(FromPreview(self.first.id))
        self.second = await self.harness.live("feature")

    async def happen(self) -> None:
        await self.harness.snapshotting.snapshots.delete(self.snapshot.id, ANN)

    async def at_the_end(self) -> None:
        await self.assert_sound()
        assert self.harness.volume(self.second) == {"rows": "masked"}


SCENARIOS = [Taken, Seeded, Cloned, Reset, Deleted]


async def play(kind: type[Scenario], at: int | None = None, *, loses_database: bool = False) -> Tripwire:
    """Play a scenario with `kill -9` at a point; None to count the points."""
    async with DataHarness([shop(kind.rules, data=kind.policy)]).open() as harness:
        scenario = kind(harness)
        await scenario.before()
        await harness.kill()
        wire = Tripwire(at)
        wire.check(scenario.promise)
        if at is None:
            wire.watch(lambda: (harness.outside, repr(harness.engine.stored)))
        await harness.start(wire, rest=False)
        await harness.rest(SETTLED)
        wire.arm()
        await until_killed(wire, scenario.happen)
        await harness.kill()
        harness.data.lose_benches()
        if loses_database:
            harness.store = type(harness.store)()
        await harness.start()
        await harness.rest(SETTLED)
        await scenario.at_the_end()
        assert wire.broken == []
    return wire


async def until_killed(wire: Tripwire, happen: Callable[[], Awaitable[None]]) -> None:
    happening = asyncio.ensure_future(happen())
    with suppress(TimeoutError):
        async with asyncio.timeout(FINISHED):
            await wire.tripped.wait()
    happening.cancel()
    with suppress(asyncio.CancelledError):
        await happening


@pytest.mark.parametrize("kind", SCENARIOS)
async def test_killed_at_every_point(kind: type[Scenario]) -> None:
    wire = await play(kind)
    assert len(wire.distinct) > 5
    step = max(1, len(wire.distinct) // POINTS)
    wrong = []
    for at in wire.distinct[::step]:
        try:
            await play(kind, at)
        except AssertionError as error:
            wrong.append(f"killed {wire.passed[at]} (point {at}): {str(error).splitlines()[0]}")
    assert wrong == []


async def test_a_lost_database_loses_no_ready_snapshot_and_uses_no_other() -> None:
    """Killed at every point while a snapshot is made, with the database lost, too."""

    class Lost(Taken):
        async def at_the_end(self) -> None:
            ready = [each for each in await self.listed() if each.is_ready]
            self.harness.assert_no_leftovers(*ready)
            for each in ready:
                assert self.harness.saved(each) == {"rows": "masked"}
            assert self.harness.volume(self.first) == {"rows": "real"}
            assert {i.state for i in self.harness.engine.there()} == {InstanceState.RUNNING}

    wire = await play(Lost)
    step = max(1, len(wire.distinct) // 20)
    kept = []
    for at in wire.distinct[::step]:
        kept.append(at)
        try:
            await play(Lost, at, loses_database=True)
        except AssertionError as error:
            raise AssertionError(f"killed {wire.passed[at]} (point {at}): {error}") from error
    assert len(kept) > 5
