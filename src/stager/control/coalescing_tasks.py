"""Work that is done beside an environment's worker, one piece at a time, after whatever happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class CoalescingTasks:
    """Does `work` for an environment soon after it is asked to; once more, if asked meanwhile.

    Args:
        work: called with the environment's id; it looks for itself, and mustn't raise.
    """

    def __init__(self, work: Callable[[str], Awaitable[None]]) -> None:
        self._work = work
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def ask(self, environment_id: str) -> None:
        """Have it done soon; at most one piece of it is under way."""
        if environment_id in self._busy:
            self._again.add(environment_id)
            return
        task = asyncio.get_running_loop().create_task(self._do(environment_id))
        self._busy[environment_id] = task
        task.add_done_callback(lambda _: self._ended(environment_id))

    async def close(self) -> None:
        """Stop; what wasn't done is seen at the next start."""
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
            self.ask(environment_id)
