"""The running workers: one for each environment that isn't in its desired state."""

from __future__ import annotations

import asyncio

import structlog

from stager.control.reconciler.actions import Actions
from stager.control.reconciler.worker import Worker

log = structlog.get_logger(__name__)

RESTART_DELAY = 60.0
"""Seconds until a worker that failed unexpectedly is started again."""


class Workers:
    """Starts a worker when an environment is woken; it ends when there is nothing left to do."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._running: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        self._restarts: dict[str, asyncio.TimerHandle] = {}

    def __contains__(self, environment_id: str) -> bool:
        return environment_id in self._running

    def __len__(self) -> int:
        return len(self._running)

    def wake(self, environment_id: str) -> None:
        """Have a worker reconcile this environment. It carries no payload; the worker re-reads state."""
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
        for restart in self._restarts.values():
            restart.cancel()
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
