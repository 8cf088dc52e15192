"""The build queue: builds each image once for all requests, a few at a time, first come first served.

A build without waiting requests is cancelled after a short delay, within which a new request can rejoin it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from stager.domain.recipe import Recipe
from stager.ports.builder import Builder, BuildOrder
from stager.ports.logs import Logs
from stager.ports.source import Origin, Sources
from stager.project.detected import GENERATOR_EDITION

log = structlog.get_logger(__name__)

LINGER = 5.0
"""Seconds for which a build without waiting requests continues, unless another build is queued."""
FRESH = 600.0
"""Seconds for which a resolved image is protected from garbage collection."""
LINES_KEPT = 30
KEY_LENGTH = 32
EDITION = "2: with the order of EXPOSE lines"
"""Part of the key. Change it with the labels of images: those of earlier editions are built again, mostly
from the cache."""


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A request for an image.

    Args:
        app: the application's name.
        repository: the id of the commit's repository.
        timeout: time limit of the build, in seconds.
    """

    app: str
    repository: str
    origin: Origin
    sha: str
    recipe: Recipe
    timeout: float

    @property
    def key(self) -> str:
        """The identity of the image. Values of secrets aren't part of it, as in BuildKit's cache: replacing a
        token doesn't change the image."""
        recipe = {**asdict(self.recipe), "secrets": sorted(self.recipe.secrets)}
        if not recipe.pop("auto"):
            return self._digest({**recipe, "variables": {}})
        return self._digest({**recipe, "auto": GENERATOR_EDITION})

    def _digest(self, recipe: dict[str, Any]) -> str:
        trust = ["untrusted"] if self.origin.untrusted else []
        text = json.dumps([EDITION, self.app, self.repository, self.sha, recipe, *trust], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


class _Build:
    """A queued or running build.

    Attributes:
        waiting: the number of requests that wait for it.
        requests: the number of requests so far.
        has_log: whether the stored log of its key is this build's.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.waiting = 0
        self.requests = 0
        self.has_log = False
        self.lines: list[str] = []
        self.listeners: list[Callable[[], None]] = []

    task: asyncio.Task[str]


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """The progress of a build.

    Args:
        ahead: the number of builds before it in the queue; None once it runs.
        lines: the last lines of its log.
    """

    ahead: int | None
    lines: tuple[str, ...] = ()


class BuildQueue:
    """All builds of this process.

    Args:
        at_once: the maximum number of concurrent builds.
    """

    def __init__(self, sources: Sources, builder: Builder, logs: Logs, *, at_once: int = 2) -> None:
        self._sources = sources
        self._builder = builder
        self._logs = logs
        self._at_once = self._free = at_once
        self._drained: asyncio.Event | None = None
        self._queue: dict[_Build, asyncio.Future[None]] = {}
        self._builds: dict[str, _Build] = {}
        self._resolved_at: dict[str, float] = {}

    def fresh(self) -> set[str]:
        """Recently resolved images: their deployments may not be stored yet."""
        now = asyncio.get_running_loop().time()
        self._resolved_at = {image: at for image, at in self._resolved_at.items() if now - at < FRESH}
        return set(self._resolved_at)

    async def image(self, request: BuildRequest, on_progress: Callable[[], None] = lambda: None) -> str:
        """Build an image, or wait for its build that is queued or runs already. Returns the image's id.

        Args:
            on_progress: called for each log line and change of the queue position.

        Raises:
            StagerError: as `Sources.checkout` and `Builder.build`.
        """
        build = self._builds.get(request.key) or self._start(request)
        build.waiting += 1
        build.requests += 1
        build.listeners.append(on_progress)
        try:
            image = await asyncio.shield(build.task)
        finally:
            build.waiting -= 1
            build.listeners.remove(on_progress)
            self._leave(build)
        self._resolved_at[image] = asyncio.get_running_loop().time()
        return image

    def keys(self) -> set[str]:
        """The keys of queued and running builds."""
        return set(self._builds)

    def progress(self, key: str) -> BuildProgress | None:
        """The progress of this key's build; None if it isn't queued or running."""
        build = self._builds.get(key)
        if build is None:
            return None
        ahead = list(self._queue).index(build) if build in self._queue else None
        return BuildProgress(ahead, tuple(build.lines[-LINES_KEPT:]))

    async def follow(self, key: str) -> AsyncIterator[str]:
        """Follow the log of this key's build from its beginning to its end; nothing for an empty key, which
        stands for a deployment without a build."""
        async with aclosing(self.follow_from(key, 0)) as pieces:
            async for text, _ in pieces:
                yield text

    async def follow_from(self, key: str, offset: int) -> AsyncGenerator[tuple[str, int]]:
        """Follow the log as `follow` does, from this offset on, each piece with the offset of its end."""
        if not key:
            return
        changed, build = asyncio.Event(), self._builds.get(key)
        if build is not None:
            build.listeners.append(changed.set)
        try:
            while True:
                changed.clear()
                is_finished = build is None or build.task.done()
                has_own_log = build is None or build.has_log or is_finished
                text, offset = self._logs.read(key, offset) if has_own_log else ("", offset)
                if text:
                    yield text, offset
                elif is_finished:
                    return
                else:
                    await changed.wait()
        finally:
            if build is not None:
                build.listeners.remove(changed.set)

    def log_of(self, key: str) -> str:
        """The stored log of this key's build."""
        return self._logs.read(key)[0] if key else ""

    async def drain(self) -> None:
        """Start no further builds, and wait until those that run have ended. Queued ones stay queued."""
        self._drained = asyncio.Event()
        self._assign_slots()
        await self._drained.wait()

    async def close(self) -> None:
        """Cancel all builds. The next start repeats them, with the builder's cache."""
        tasks = [build.task for build in self._builds.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, request: BuildRequest) -> _Build:
        build = self._builds[request.key] = _Build(request.key)
        build.task = asyncio.get_running_loop().create_task(self._run(request, build))
        build.task.add_done_callback(lambda _: self._finish(build))
        return build

    def _finish(self, build: _Build) -> None:
        self._forget(build)
        if not build.task.cancelled():
            build.task.exception()  # The requests have received it; this stops asyncio from logging it.
        _notify(build)

    def _forget(self, build: _Build) -> None:
        if self._builds.get(build.key) is build:
            del self._builds[build.key]

    async def _run(self, request: BuildRequest, build: _Build) -> str:
        found = await self._builder.find(request.app, request.key)
        if found is not None:
            return found
        self._logs.begin(request.key)
        build.has_log = True
        await self._wait_for_slot(build)
        try:
            return await self._build(request, build)
        finally:
            self._free += 1
            self._assign_slots()

    async def _build(self, request: BuildRequest, build: _Build) -> str:
        bound = log.bind(app=request.app, sha=request.sha, build=request.key)
        bound.info("build_started")
        self._log_line(build, f"Fetching commit {request.sha}")
        async with self._sources.checkout(request.repository, request.origin, request.sha) as tree:
            order = BuildOrder(
                request.key,
                request.app,
                request.sha,
                tree,
                request.recipe,
                request.timeout,
                request.origin.untrusted,
            )
            image = await self._builder.build(order, lambda line: self._log_line(build, line))
        bound.info("built", image=image)
        return image

    def _log_line(self, build: _Build, line: str) -> None:
        self._logs.add(build.key, line)
        build.lines = [*build.lines[-LINES_KEPT:], line]
        _notify(build)

    async def _wait_for_slot(self, build: _Build) -> None:
        """Wait for a free slot, in order."""
        slot = self._queue[build] = asyncio.get_running_loop().create_future()
        for other in [b for b in self._builds.values() if not b.waiting]:
            self._cancel(other)
        self._assign_slots()
        try:
            await slot
        except asyncio.CancelledError:
            self._queue.pop(build, None)
            if not slot.cancelled():  # The slot was assigned at the moment of the cancellation.
                self._free += 1
            self._assign_slots()
            raise

    def _assign_slots(self) -> None:
        if self._drained is not None:
            if self._free == self._at_once:
                self._drained.set()
            return
        while self._free > 0 and self._queue:
            slot = self._queue.pop(next(iter(self._queue)))
            if not slot.done():
                self._free -= 1
                slot.set_result(None)
        for build in self._queue:
            _notify(build)

    def _leave(self, build: _Build) -> None:
        """Cancel the build if no request waits for it."""
        if build.waiting or build.task.done():
            return
        if self._queue:
            self._cancel(build)
        else:
            asyncio.get_running_loop().call_later(LINGER, self._cancel_if_abandoned, build, build.requests)

    def _cancel_if_abandoned(self, build: _Build, requests: int) -> None:
        if build.requests == requests:
            self._cancel(build)

    def _cancel(self, build: _Build) -> None:
        """Cancel a build; a later request starts it again."""
        if not build.task.done():
            self._forget(build)
            build.task.cancel()


def _notify(build: _Build) -> None:
    for listener in tuple(build.listeners):
        listener()
