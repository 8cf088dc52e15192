"""Change notifications: which environment has changed, not how. Receivers read the state themselves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ChangeFeed:
    """Publishes changes of environments."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._listeners: list[Callable[[str], None]] = []

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the id of each environment that changes. It must not block or raise."""
        self._listeners.append(listener)

    def changed(self, environment: str) -> None:
        """Publish a change of the environment of this id."""
        for event in self._waiting.get(environment, ()):
            event.set()
        for listener in self._listeners:
            listener(environment)

    def instances_changed(self, environment: str = "") -> None:
        """Wake those who wait for a change of this environment, empty for any: its instances have changed,
        or may have. This isn't a change for listeners."""
        for name in [environment] if environment else list(self._waiting):
            for event in self._waiting.get(name, ()):
                event.set()

    @contextmanager
    def of(self, environment: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change of this environment. Clear it before reading the state."""
        event = asyncio.Event()
        self._waiting[environment].add(event)
        try:
            yield event
        finally:
            self._waiting[environment].discard(event)
            if not self._waiting[environment]:
                del self._waiting[environment]
