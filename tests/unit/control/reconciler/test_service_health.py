"""How often a service's health check is tried while the service starts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from stager.control.reconciler.service_health import CheckedService, ServiceHealth
from stager.domain.deployment import DeployedService
from stager.domain.environment import Instance, InstanceState
from stager.domain.route import Endpoint
from stager.domain.service import ServiceCheck, ServiceSpec
from stager.ports.engine import Checked, Ran
from stager.testing import FakeEngine

INSTANCE = Instance("i", "e", "db", "d", 1, InstanceState.RUNNING, endpoint=Endpoint("127.0.0.1", 1))
TRIES = 12


class Slow(FakeEngine):
    """An engine whose instance is healthy at the last of `TRIES`."""

    tries = 0

    def _is_healthy(self) -> bool:
        self.tries += 1
        return self.tries >= TRIES

    async def run(self, instance: str, command: Sequence[str], timeout: float) -> Ran:
        return Ran(0 if self._is_healthy() else 1, "")

    async def check(self, instance: str) -> Checked:
        return Checked(healthy=self._is_healthy())

    async def accepts(self, endpoint: Endpoint) -> bool:
        return self._is_healthy()


@pytest.mark.parametrize(
    ("service", "first"),
    [
        (DeployedService(ServiceSpec("db", check=ServiceCheck(command=("pg_isready",))), "img"), 0.25),
        (DeployedService(ServiceSpec("db"), "img", has_healthcheck=True), 0.25),
        (DeployedService(ServiceSpec("db", check=ServiceCheck(port=5432)), "img"), 0.02),
    ],
    ids=["command", "image", "port"],
)
async def test_a_command_is_run_less_often_than_a_connection_is_tried(
    monkeypatch: pytest.MonkeyPatch, service: DeployedService, first: float
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    engine = Slow()
    await ServiceHealth(engine, engine).wait(CheckedService(service, INSTANCE, "h", 60.0, lambda name: name))
    assert waits[:2] == [first, first * 1.5]
    assert len(waits) == TRIES - 1
    assert waits[-1] == 1.0
