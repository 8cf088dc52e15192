"""Forms that must have one effect, also when they are sent twice."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

MAX_FORMS = 1_000


class Once:
    """Runs what a form requests once. A double click, or the form sent again by the browser's back button,
    gets the result of the first request."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[tuple[str, ...], asyncio.Future[str]] = OrderedDict()

    async def run(self, key: tuple[str, ...], make: Callable[[], Awaitable[str]]) -> str:
        """Return what `make` returned for this key. After an error, the form may be sent again.

        Args:
            key: the actor, the form's token, and what it requests.
        """
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.ensure_future(make())
            task.add_done_callback(lambda done: self._forget_failed(key, done))
            while len(self._tasks) > MAX_FORMS:
                self._tasks.popitem(last=False)
        return await asyncio.shield(task)

    def _forget_failed(self, key: tuple[str, ...], done: asyncio.Future[str]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._tasks.pop(key, None)
