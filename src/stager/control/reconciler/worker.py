"""One environment's worker: it looks, plans, takes one step, and looks again, until there is nothing to do.

It is woken, never told: whatever happened, it looks for itself. While it takes a step it stays awake, and
gives the step up as soon as the plan has become another one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from stager.control.reconciler.actions import Actions
from stager.control.reconciler.observe import ObservedState
from stager.domain.errors import StagerError
from stager.domain.plan import Action, continues, plan

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between looks while the engine, the store or the front doesn't answer, or something fails that no
deployment can remember."""
SOON = 0.02
"""Seconds that a step has to end by itself before a look decides whether it goes on."""


class Worker:
    """Brings one environment to rest.

    Args:
        environment: its id.
    """

    def __init__(self, environment: str, steps: Actions) -> None:
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
                is_at_rest = await self._work()
            except StagerError as error:
                await self._excuse(error, pause)
                pause = min(LONGEST_PAUSE, pause * 2)
                continue
            pause = FIRST_PAUSE
            if is_at_rest and not self._woken.is_set():
                return

    async def _work(self) -> bool:
        """Look, and take one step. Whether there was nothing to do. Raises `StagerError`: whatever went wrong
        that no deployment remembers."""
        try:
            state, action = await self._plan()
            if state is not None and action is None:
                await self._steps.settle(state)
            elif state is not None and action is not None:
                await self._carry_out(state, action)
        except StagerError:
            raise
        except Exception as error:
            log.exception("look_failed", environment=self.environment)
            raise self._steps.unexpected(self.environment, error) from error
        return action is None

    async def _plan(self) -> tuple[ObservedState | None, Action | None]:
        """A look, and what follows from it."""
        state = await self._steps.observe(self.environment)
        return state, plan(state.environment.desired, state.observed, self._steps.now()) if state else None

    async def _excuse(self, error: StagerError, seconds: float) -> None:
        """Have the log and the visitor's page say why nothing happens, for so long or until we are woken."""
        self._log.warning("waiting", reason=error.reason, error=error.message, seconds=seconds)
        with suppress(Exception):  # what that takes is what fails, most often
            await self._steps.showing.excuse(self.environment, error)
        await self._sleep(seconds)

    async def _carry_out(self, state: ObservedState, action: Action) -> None:
        """Take this step, unless the plan changes under way: then give it up."""
        step = asyncio.create_task(self._steps.take(state, action))
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
