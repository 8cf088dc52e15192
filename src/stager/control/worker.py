"""One environment's worker: it looks, plans, takes one step, and looks again, until there is nothing to do.

It is woken, never told: whatever happened, it looks for itself. While it takes a step it stays awake, and
gives the step up as soon as the plan has become another one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from stager.control.looking import Look
from stager.control.steps import Steps
from stager.domain.errors import Retry, StagerError
from stager.domain.plan import Action, continues, plan

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between looks while the engine, the store or the front doesn't answer."""
SOON = 0.02
"""Seconds that a step has to end by itself before a look decides whether it goes on."""


class Worker:
    """Brings one environment to rest.

    Args:
        environment: its id.
    """

    def __init__(self, environment: str, steps: Steps) -> None:
        self.environment = environment
        self._steps = steps
        self._woken = asyncio.Event()
        self._log = log.bind(environment=environment)

    def wake(self) -> None:
        """Look again soon; whatever is under way goes on unless the plan has changed."""
        self._woken.set()

    async def run(self) -> None:
        """Work until the environment is at rest and nobody has woken us meanwhile."""
        pause = FIRST_PAUSE
        while True:
            self._woken.clear()
            try:
                look, action = await self._plan()
                if look is not None and action is None:
                    await self._steps.settle(look)
                elif look is not None and action is not None:
                    await self._carry_out(look, action)
                pause = FIRST_PAUSE
            except Retry as error:
                self._log.warning("waiting", reason=error.reason, error=error.message, seconds=pause)
                with suppress(StagerError):
                    await self._steps.showing.excuse(self.environment, error)
                await self._sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
                continue
            if action is None and not self._woken.is_set():
                return

    async def _plan(self) -> tuple[Look | None, Action | None]:
        """A look, and what follows from it."""
        look = await self._steps.look(self.environment)
        return look, plan(look.environment.desired, look.observed, self._steps.now()) if look else None

    async def _carry_out(self, look: Look, action: Action) -> None:
        """Take this step, unless the plan changes under way: then give it up."""
        step = asyncio.create_task(self._steps.take(look, action))
        try:
            while not await self._done_or_woken(step) and not await self._done_soon(step):
                self._woken.clear()
                _, planned = await self._plan()
                if not continues(action, planned):
                    self._log.info("step_given_up", step=type(action).__name__)
                    return
            await step
        finally:
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)

    async def _done_or_woken(self, step: asyncio.Task[None]) -> bool:
        woken = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait({step, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
        return step.done()

    async def _done_soon(self, step: asyncio.Task[None]) -> bool:
        """Whether it is over in a moment. What wakes is the step's own effect, most often: then a look would
        come too early, and another one after it."""
        await asyncio.wait({step}, timeout=SOON)
        return step.done()

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
