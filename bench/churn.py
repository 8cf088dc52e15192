"""`python -m bench.churn`: replaces containers as fast as Stager does, until its standard input ends. It
slows down the rest of the machine as much as Stager's own launches do."""

from __future__ import annotations

import asyncio
import sys

from bench.byhand import ByHand
from bench.testbed import app_image
from stager.control.reconciler.rollout import CONCURRENT_STARTS

KEPT = 40
"""Containers that stay up, so that each new one replaces an old one."""


async def _churn(image: str) -> None:
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    async with ByHand() as engine:
        running: set[asyncio.Task[float]] = set()
        while not ended.done():
            while len(running) < CONCURRENT_STARTS:
                running.add(asyncio.create_task(engine.launch(image)))
            _, running = await asyncio.wait(running, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
            if engine.count > CONCURRENT_STARTS:
                print(engine.count, flush=True)
            await engine.remove(keep=KEPT)
        await asyncio.gather(*running, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(_churn(app_image()))
