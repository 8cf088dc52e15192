"""Background work: loops that packages contribute to the controller, and tasks per environment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Loop:
    """Background work of one package, run by the controller.

    Args:
        name: in the log and in `Readiness`.
        interval: time between two runs; None: `run` is a stream, which is restarted when it ends.
        after_adoption: whether it starts only after running instances were adopted. Without this, a delivery
            could launch a preview that runs already but isn't in the database.
        wake: ends the pause between two runs when it is set.
    """

    name: str
    run: Callable[[], Awaitable[object]]
    interval: timedelta | None = None
    after_adoption: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class CoalescingTasks:
    """Runs `work` in the background. Requests during a run are merged into one more run.

    Args:
        work: called with the environment's id; it reads the state itself, and must not raise.
    """

    def __init__(self, work: Callable[[str], Awaitable[None]]) -> None:
        self._work = work
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def request(self, environment_id: str) -> None:
        """Run it soon for the environment of this id."""
        if environment_id in self._busy:
            self._again.add(environment_id)
            return
        task = asyncio.get_running_loop().create_task(self._do(environment_id))
        self._busy[environment_id] = task
        task.add_done_callback(lambda _: self._ended(environment_id))

    async def close(self) -> None:
        """Cancel all runs. What they would have done is found at the next start."""
        tasks = list(self._busy.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _do(self, environment_id: str) -> None:
        await self._work(environment_id)

    def _ended(self, environment_id: str) -> None:
        task = self._busy.pop(environment_id)
        if environment_id in self._again and not task.cancelled():
            self._again.discard(environment_id)
            self.request(environment_id)
