"""Sends requests at given times, whether or not earlier ones have been answered, as independent clients do. A
sender that waits for each answer sends fewer requests the slower the answers are, and never sees a queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def spread(send: Callable[[int], Awaitable[None]], count: int, duration: float) -> list[float]:
    """Send `count` requests, evenly spread.

    Args:
        send: sends the request of this number, and waits for its answer.
        duration: seconds from the first to after the last.

    Returns:
        For each the seconds from the moment at which it should have been sent until its answer.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time() + 0.05

    async def one(number: int) -> float:
        due = begun + number * duration / count
        await asyncio.sleep(due - loop.time())
        await send(number)
        return loop.time() - due

    return await asyncio.gather(*map(one, range(count)))
