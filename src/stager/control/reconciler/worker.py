"""The workers, one for each environment that isn't in its desired state: observe, plan, carry out one action,
and again until there is nothing to do.

Level-triggered: a wake-up carries no payload; the worker reads the state again. It keeps observing while an
action runs, and cancels the action as soon as the plan changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from stager.control.reconciler.actions import Actions
from stager.control.reconciler.context import ObservedState
from stager.domain.errors import Refused, StagerError
from stager.domain.plan import Action, continues, plan

log = structlog.get_logger(__name__)

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds between tries while the engine, the store or the front doesn't answer, or something fails that no
deployment can record."""
SOON = 0.02
"""Seconds that a running action has to end by itself before the worker observes again."""


class Worker:
    """Reconciles one environment until it is at rest.

    Args:
        environment: its id.
    """

    def __init__(self, environment: str, actions: Actions) -> None:
        self.environment = environment
        self._actions = actions
        self._woken = asyncio.Event()
        self._log = log.bind(environment=environment)

    def wake(self) -> None:
        """Observe again soon. A running action goes on unless the plan has changed."""
        self._woken.set()

    async def run(self) -> None:
        """Work until the environment is at rest and there was no wake-up meanwhile."""
        delay = FIRST_DELAY
        while True:
            self._woken.clear()
            try:
                is_at_rest = await self._reconcile()
            except StagerError as error:
                await self._retry_later(error, delay)
                delay = min(LONGEST_DELAY, delay * 2)
                continue
            delay = FIRST_DELAY
            if is_at_rest and not self._woken.is_set():
                return

    async def _reconcile(self) -> bool:
        """Observe, and carry out one action. Returns whether there was nothing to do.

        Raises:
            StagerError: a failure that no deployment records.
        """
        try:
            await self._actions.may_begin()
            state, action = await self._plan()
            if state is not None and action is None:
                await self._actions.settle(state)
            elif state is not None and action is not None:
                await self._carry_out(state, action)
        except StagerError:
            raise
        except Exception as error:
            log.exception("reconciliation_failed", environment=self.environment)
            raise self._actions.unexpected(self.environment, error) from error
        return action is None

    async def _plan(self) -> tuple[ObservedState | None, Action | None]:
        """The observed state, and the plan for it."""
        state = await self._actions.observe(self.environment)
        return state, plan(state.environment.desired, state, self._actions.now()) if state else None

    async def _retry_later(self, error: StagerError, seconds: float) -> None:
        """Show the error in the log and on the visitor's page, and wait until the next try or wake-up."""
        self._log.warning("retry_later", reason=error.reason, error=error.message, seconds=seconds)
        with suppress(Exception):  # most often, the page needs what fails
            await self._actions.status_page.show_error(self.environment, error)
        await self._sleep(seconds)

    async def _carry_out(self, state: ObservedState, action: Action) -> None:
        """Carry out this action; cancel it when the plan changes meanwhile."""
        running = asyncio.create_task(self._actions.take(state, action))
        try:
            while not await self._done_or_woken(running) and not await self._done_soon(running):
                self._woken.clear()
                _, planned = await self._plan()
                if not continues(action, planned):
                    self._log.info("action_cancelled", action=type(action).__name__)
                    return
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _done_or_woken(self, running: asyncio.Task[None]) -> bool:
        woken = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait({running, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
        return running.done()

    async def _done_soon(self, running: asyncio.Task[None]) -> bool:
        """Whether it ends within a moment. Most wake-ups are the effect of the action itself; observing at
        once would be too early, and would be done twice."""
        await asyncio.wait({running}, timeout=SOON)
        return running.done()

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()


RESTART_DELAY = 60.0
"""Seconds until a worker that failed unexpectedly is started again."""


class Workers:
    """Starts a worker when an environment is woken; it ends when there is nothing left to do."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._running: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        self._restarts: dict[str, asyncio.TimerHandle] = {}
        self._held: set[str] = set()
        self._is_stopped = False

    def __contains__(self, environment_id: str) -> bool:
        return environment_id in self._running

    def __len__(self) -> int:
        return len(self._running)

    def wake(self, environment_id: str) -> None:
        """Have a worker reconcile this environment. It carries no payload; the worker re-reads state."""
        if environment_id in self._held:
            return  # it is woken at the end
        worker, task = self._running.get(environment_id, (None, None))
        if worker is not None and task is not None and not task.done():
            worker.wake()
            return
        if (restart := self._restarts.pop(environment_id, None)) is not None:
            restart.cancel()
        worker = Worker(environment_id, self._actions)
        task = asyncio.get_running_loop().create_task(worker.run())
        self._running[environment_id] = worker, task
        task.add_done_callback(lambda task: self._ended(environment_id, task))

    @asynccontextmanager
    async def held(self, environment_id: str) -> AsyncIterator[None]:
        """Have no worker act on an environment within the context. At its end, the environment is woken.

        Raises:
            Refused: `preview-busy`: it is held already.
        """
        if environment_id in self._held:
            raise Refused(
                "A snapshot is being made from this preview.",
                hint="Try again when it is ready.",
                reason="preview-busy",
                status=409,
            )
        self._held.add(environment_id)
        try:
            if environment_id in self._running:
                task = self._running[environment_id][1]
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            yield
        finally:
            self._held.discard(environment_id)
            if not self._is_stopped:
                self.wake(environment_id)

    def _ended(self, environment_id: str, task: asyncio.Task[None]) -> None:
        if self._running[environment_id][1] is task:  # else it was woken again just before it ended
            del self._running[environment_id]
        if task.cancelled() or task.exception() is None:
            return
        log.error("worker_failed", environment=environment_id, exc_info=task.exception())
        if environment_id not in self._running:
            restart = task.get_loop().call_later(RESTART_DELAY, self.wake, environment_id)
            self._restarts[environment_id] = restart

    async def stop(self) -> None:
        """Cancel all workers where they are. Instances keep running."""
        self._is_stopped = True
        for restart in self._restarts.values():
            restart.cancel()
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
