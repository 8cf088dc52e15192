"""Many workers at rest at once cause few sweeps of the engine."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stager.control.reconciler.context import WorkerContext
from stager.control.reconciler.masking import Masks
from stager.control.reconciler.retirement import Retirement
from stager.domain.environment import Environment
from stager.domain.errors import Retry


class Engine:
    """Sweeps when the test lets it."""

    def __init__(self) -> None:
        self.sweeps = 0
        self.go_on = asyncio.Event()
        self.error: Retry | None = None

    async def sweep(self, _: object) -> int:
        self.sweeps += 1
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return 0


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def retirement(engine: Engine) -> Retirement:
    async def volume_epochs() -> dict[str, Any]:
        return {}

    records = SimpleNamespace(volume_epochs=volume_epochs)
    context = cast("WorkerContext", SimpleNamespace(instances=engine, records=records))
    return Retirement(context, cast("Masks", None))  # sweeps mask nothing


def asked(retirement: Retirement, count: int) -> list[asyncio.Task[bool]]:
    environment = cast("Environment", SimpleNamespace(id="e1"))
    return [asyncio.create_task(retirement.clear_networks(environment)) for _ in range(count)]


async def test_requests_during_a_sweep_share_the_next_one(engine: Engine, retirement: Retirement) -> None:
    first = asked(retirement, 1)
    await asyncio.sleep(0)
    later = asked(retirement, 100)
    await asyncio.sleep(0)
    engine.go_on.set()
    await asyncio.gather(*first, *later)
    assert engine.sweeps == 2


async def test_a_cancelled_request_leaves_the_others(engine: Engine, retirement: Retirement) -> None:
    first, *later = asked(retirement, 3)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    engine.go_on.set()
    await asyncio.gather(*later)
    assert engine.sweeps == 2


async def test_a_failed_sweep_serves_none(engine: Engine, retirement: Retirement) -> None:
    engine.error = Retry("Docker doesn't answer.", reason="engine-unreachable")
    engine.go_on.set()
    await asyncio.gather(*asked(retirement, 3))
    assert engine.sweeps == 3


def at_rest(*, keeps_volumes: bool = True, epoch: int = 0) -> Environment:
    facts = SimpleNamespace(id="e1", keeps_volumes=keeps_volumes, volume_epoch=epoch)
    return cast("Environment", facts)


async def test_an_environment_at_rest_is_cleared_once(engine: Engine, retirement: Retirement) -> None:
    engine.go_on.set()
    for _ in range(3):
        await retirement.clear_networks_once(at_rest())
    assert engine.sweeps == 1

    retirement.expect_networks(at_rest())
    await retirement.clear_networks_once(at_rest())
    assert engine.sweeps == 2, "it had instances"
    await retirement.clear_networks_once(at_rest(epoch=3))
    assert engine.sweeps == 3, "its volumes were reset"
    await retirement.clear_networks_once(at_rest(keeps_volumes=False))
    assert engine.sweeps == 4, "its volumes go"


async def test_what_fails_is_cleared_again(engine: Engine, retirement: Retirement) -> None:
    engine.go_on.set()
    engine.error = Retry("Docker doesn't answer.", reason="engine-unreachable")
    await retirement.clear_networks_once(at_rest())
    engine.error = None
    for _ in range(2):
        await retirement.clear_networks_once(at_rest())
    assert engine.sweeps == 2
