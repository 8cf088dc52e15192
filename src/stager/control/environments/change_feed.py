"""Wakes whoever waits for something to happen to an environment. It says that, never what: they look."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ChangeFeed:
    """Environments, and those who wait for them."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._listeners: list[Callable[[str], None]] = []

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the id at each change of any environment. It mustn't block or raise."""
        self._listeners.append(listener)

    def changed(self, environment: str) -> None:
        """Something happened to this environment."""
        for event in self._waiting.get(environment, ()):
            event.set()
        for listener in self._listeners:
            listener(environment)

    @contextmanager
    def of(self, environment: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change; clear it before looking."""
        event = asyncio.Event()
        self._waiting[environment].add(event)
        try:
            yield event
        finally:
            self._waiting[environment].discard(event)
            if not self._waiting[environment]:
                del self._waiting[environment]
