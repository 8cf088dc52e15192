"""An engine that completes a call, even if its caller was killed or cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from stager.domain.environment import Instance
from stager.ports.clock import Clock
from stager.ports.engine import InstanceSpec
from stager.testing import FakeEngine

T = TypeVar("T")


class DiligentEngine(FakeEngine):
    """A `FakeEngine` whose changes go on without their caller, as dockerd's do.

    Attributes:
        under_way: what it is doing now.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.under_way: set[asyncio.Task[Any]] = set()

    async def create(self, spec: InstanceSpec) -> Instance:
        return await self._carry_out(super().create(spec))

    async def join(self, instance: str, generation: int) -> Instance:
        return await self._carry_out(super().join(instance, generation))

    async def start(self, instance: str) -> Instance:
        return await self._carry_out(super().start(instance))

    async def remove(self, instance: str) -> None:
        await self._carry_out(super().remove(instance))

    async def _carry_out(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        self.under_way.add(task)
        task.add_done_callback(self._is_done)
        return await asyncio.shield(task)

    def _is_done(self, task: asyncio.Task[Any]) -> None:
        self.under_way.discard(task)
        if not task.cancelled():
            task.exception()  # Whoever asked may not be there any more to hear of it.
