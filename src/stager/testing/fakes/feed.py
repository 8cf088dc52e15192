"""A stream of events that anybody may follow, as engines and data planes have one; it may be interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


class Feed:
    """Hands each event to whoever follows. What is told during an interruption is lost."""

    def __init__(self) -> None:
        self._followers: set[asyncio.Queue[str]] = set()
        self._interrupted = False

    @property
    def is_followed(self) -> bool:
        """Whether anybody listens."""
        return bool(self._followers)

    def tell(self, event: str) -> None:
        """Something happened."""
        if not self._interrupted:
            for follower in self._followers:
                follower.put_nowait(event)

    def interrupt(self) -> None:
        """Tell nothing until `resume`."""
        self._interrupted = True

    def resume(self) -> None:
        """Go on. Followers get an empty event, because they may have missed some."""
        self._interrupted = False
        self.tell("")

    async def follow(self) -> AsyncIterator[str]:
        """An empty event first, as soon as there is a connection, then whatever happens. Never ends."""
        events: asyncio.Queue[str] = asyncio.Queue()
        self._followers.add(events)
        try:
            if not self._interrupted:
                yield ""
            while True:
                yield await events.get()
        finally:
            self._followers.discard(events)
