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
        self._watching: dict[str, set[asyncio.Event]] = defaultdict(set)
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
        """Wake those who wait for the instances of this environment, empty for any: they have changed, or may
        have. This isn't a change of the environment, whose removal ends with its networks."""
        for name in [environment] if environment else list(self._watching):
            for event in self._watching.get(name, ()):
                event.set()

    @contextmanager
    def of(self, environment: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change of this environment. Clear it before reading the state."""
        event = asyncio.Event()
        with _member(self._waiting, environment, event):
            yield event

    @contextmanager
    def with_instances(self, environment: str) -> Iterator[asyncio.Event]:
        """As `of`; the event is set when its instances may have changed, too."""
        with self.of(environment) as event, _member(self._watching, environment, event):
            yield event


@contextmanager
def _member(events: dict[str, set[asyncio.Event]], environment: str, event: asyncio.Event) -> Iterator[None]:
    events[environment].add(event)
    try:
        yield
    finally:
        events[environment].discard(event)
        if not events[environment]:
            del events[environment]
