"""A whole Stager over fakes, behind a real socket, for commands that block: in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

import uvicorn
from fastapi import FastAPI

from stager.auth.basic import BasicAuthentication
from stager.control.identity.authorizer import Roles
from stager.domain.identity.roles import Role
from stager.forges.github.webhooks.events import GithubWebhooks
from tests.unit.control.harness import Harness
from tests.unit.web.harness import SECRET, app_of

T = TypeVar("T")
HOST = "localhost"
USERS = {"ann": "pa:ss", "bob": "secret"}
ROLES = Roles({"basic:bob": Role.VIEWER})


class Served:
    """A running Stager.

    Args:
        harness: what is behind it. Only its own thread may touch that: see `call`.
    """

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.app: FastAPI
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._server: uvicorn.Server

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """What this comes to in the harness's own thread."""

        async def run() -> T:
            return await work()

        future: Future[T] = asyncio.run_coroutine_threadsafe(run(), self._loop)
        return future.result(30)

    def do(self, work: Callable[[], None]) -> None:
        """Do this in the harness's own thread."""

        async def done() -> None:
            work()

        self.call(done)

    def run(self) -> None:
        """The thread's own function."""
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    def ready(self) -> None:
        assert self._up.wait(30)

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True

    async def _serve(self) -> None:
        await self.harness.start(rest=False)
        self.app = app_of(self.harness, start_timeout=30.0)
        config = uvicorn.Config(self.app, host="127.0.0.1", port=0, log_config=None, lifespan="off")
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self._up.set()
        await serving
        await self.harness.kill()


@contextmanager
def served(harness: Harness | None = None) -> Iterator[Served]:
    """A Stager with one application, `shop`; by default with ann, who may do all, and bob, who
    may look."""
    harness = harness or Harness(authentication=[BasicAuthentication(USERS)], roles=ROLES)
    harness.webhooks = GithubWebhooks(SECRET)
    stager = Served(harness)
    thread = threading.Thread(target=stager.run)
    thread.start()
    stager.ready()
    try:
        yield stager
    finally:
        stager.stop()
        thread.join(30)
