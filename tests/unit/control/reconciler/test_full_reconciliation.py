"""What a full reconciliation reads."""

from __future__ import annotations

import asyncio

import pytest

from stager.domain.environment import Environment
from stager.testing.fakes.store import MemoryTransaction
from tests.unit.control.harness import Harness


async def test_loads_the_environments_once(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second", "third"):
        await harness.launch(name)
    await harness.rest()
    loads: list[bool | None] = []
    own = asyncio.current_task()
    load = MemoryTransaction.environments

    def counted(tx: MemoryTransaction, *, present: bool | None = None) -> list[Environment]:
        if asyncio.current_task() is own:  # other loops load some, too
            loads.append(present)
        return load(tx, present=present)

    monkeypatch.setattr(MemoryTransaction, "environments", counted)
    await harness.running.control_plane.reconciler._full.run()

    assert loads == [None]
