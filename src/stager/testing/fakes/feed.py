"""A stream of events with any number of followers, like those of engines and data planes; it can be
interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


class Feed:
    """Sends each event to all followers. Events during an interruption are lost."""

    def __init__(self) -> None:
        self._followers: set[asyncio.Queue[str]] = set()
        self._interrupted = False

    @property
    def is_followed(self) -> bool:
        """Whether there are followers."""
        return bool(self._followers)

    def tell(self, event: str) -> None:
        """Send an event."""
        if not self._interrupted:
            for follower in self._followers:
                follower.put_nowait(event)

    def interrupt(self) -> None:
        """Drop events until `resume`."""
        self._interrupted = True

    def resume(self) -> None:
        """Continue. Followers get an empty event, because they may have missed some."""
        self._interrupted = False
        self.tell("")

    async def follow(self) -> AsyncIterator[str]:
        """An empty event once connected, then all events. Never ends."""
        events: asyncio.Queue[str] = asyncio.Queue()
        self._followers.add(events)
        try:
            if not self._interrupted:
                yield ""
            while True:
                yield await events.get()
        finally:
            self._followers.discard(events)
