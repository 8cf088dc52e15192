"""The controller: runs the background loops that the packages contribute, and owns the workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta

import structlog

from stager.control.diagnostics import Readiness
from stager.control.loops import Loop
from stager.control.reconciler.worker import Workers
from stager.domain.errors import StagerError
from stager.domain.unexpected import ending_of

log = structlog.get_logger(__name__)

MIN_PAUSE, MAX_PAUSE = 5.0, 60.0
"""Seconds until a stream that failed unexpectedly is restarted; doubles with each failure in a row."""


class Controller:
    """Runs the loops.

    Args:
        adopted: set once running instances were adopted; loops with `after_adoption` wait for it.
    """

    def __init__(
        self, loops: Sequence[Loop], workers: Workers, readiness: Readiness, adopted: asyncio.Event
    ) -> None:
        self._loops = loops
        self._workers = workers
        self._readiness = readiness
        self._adopted = adopted

    async def run(self) -> None:
        """Run until cancelled; then stop the workers. Instances keep running."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for loop in self._loops:
                    tasks.create_task(self._run(loop))
        finally:
            await self._workers.stop()

    async def _run(self, loop: Loop) -> None:
        if loop.after_adoption:
            await self._adopted.wait()
        if loop.interval is None:
            await self._stream(loop.name, loop.run)
        else:
            await self._repeat(loop, loop.interval)

    async def _stream(self, name: str, run: Callable[[], Awaitable[object]]) -> None:
        """Restart a stream whenever it ends: the end of one task would end the whole controller."""
        loop, pause = asyncio.get_running_loop(), MIN_PAUSE
        while True:
            recovered = loop.call_later(MAX_PAUSE, self._readiness.report, name, "")
            started = loop.time()
            is_fine = await self._run_once(name, run) or loop.time() - started > MAX_PAUSE
            recovered.cancel()
            pause = MIN_PAUSE if is_fine else min(MAX_PAUSE, pause * 2)
            await asyncio.sleep(pause)

    async def _repeat(self, loop: Loop, interval: timedelta) -> None:
        while True:
            loop.wake.clear()
            if await self._run_once(loop.name, loop.run):
                self._readiness.report(loop.name, "")
            with suppress(TimeoutError):
                async with asyncio.timeout(interval.total_seconds()):
                    await loop.wake.wait()

    async def _run_once(self, name: str, run: Callable[[], Awaitable[object]]) -> bool:
        """Run it once. False after an unexpected error, which becomes a problem."""
        try:
            await run()
        except StagerError as error:
            log.warning("loop_interrupted", loop=name, reason=error.reason, error=error.message)
        except Exception as error:
            log.exception("loop_failed", loop=name)
            self._readiness.report(name, str(ending_of(error)))
            return False
        return True
