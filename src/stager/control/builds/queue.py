"""Makes images of commits: each only once, however many want it, a few at a time, first come first served.

A build that nobody waits for any more is ended, soon: whoever wanted it may only have looked away, and finds
it where it was.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass

import structlog

from stager.domain.recipe import Recipe
from stager.ports.builder import Builder, BuildOrder
from stager.ports.logs import Logs
from stager.ports.source import Origin, Sources

log = structlog.get_logger(__name__)

LINGER = 5.0
"""Seconds that a build goes on without anybody who waits for it, as long as no other waits in line."""
FRESH = 600.0
"""Seconds for which an image isn't cleared away after it was handed out."""
LINES_KEPT = 30
KEY_LENGTH = 32
EDITION = "2: with the order of EXPOSE lines"
"""Changes with what builds note in images: one of an earlier edition is made again, mostly from the cache."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image that somebody wants.

    Args:
        app: the application that it is for.
        repository: the id of the repository that the commit is in.
        timeout: seconds until the build is given up.
    """

    app: str
    repository: str
    origin: Origin
    sha: str
    recipe: Recipe
    timeout: float

    @property
    def key(self) -> str:
        """What tells the image from every other. A secret's value doesn't count, as with BuildKit's cache: a
        token that is replaced makes no other image."""
        recipe = {**asdict(self.recipe), "secrets": sorted(self.recipe.secrets)}
        whose = ["by a stranger"] if self.origin.by_stranger else []
        text = json.dumps([EDITION, self.app, self.repository, self.sha, recipe, *whose], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


class _Build:
    """One that is wanted, in line or under way.

    Attributes:
        waiting: how many wait for it now.
        came: how many ever did.
        has_log: whether the log that is kept by its key is its own by now.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.waiting = 0
        self.came = 0
        self.has_log = False
        self.lines: list[str] = []
        self.listeners: list[Callable[[], None]] = []

    task: asyncio.Task[str]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a build stands.

    Args:
        ahead: how many are in line before it; None once it is under way.
        lines: the last lines of its log.
    """

    ahead: int | None
    lines: tuple[str, ...] = ()


class BuildQueue:
    """All builds of this process.

    Args:
        at_once: how many may run at a time.
    """

    def __init__(self, sources: Sources, builder: Builder, logs: Logs, *, at_once: int = 2) -> None:
        self._sources = sources
        self._builder = builder
        self._logs = logs
        self._free = at_once
        self._line: dict[_Build, asyncio.Future[None]] = {}
        self._builds: dict[str, _Build] = {}
        self._made_at: dict[str, float] = {}

    def fresh(self) -> set[str]:
        """The images that were handed out a moment ago: who asked for them may not have noted them yet."""
        now = asyncio.get_running_loop().time()
        self._made_at = {image: at for image, at in self._made_at.items() if now - at < FRESH}
        return set(self._made_at)

    async def image(self, wanted: Wanted, heard: Callable[[], None] = lambda: None) -> str:
        """The image's id, once it is made. Raises what `Sources.checkout` and `Builder.build` do.

        Args:
            heard: called at each line of the log, and whenever the place in line changes.
        """
        build = self._builds.get(wanted.key) or self._begin(wanted)
        build.waiting += 1
        build.came += 1
        build.listeners.append(heard)
        try:
            image = await asyncio.shield(build.task)
        finally:
            build.waiting -= 1
            build.listeners.remove(heard)
            self._look_away(build)
        self._made_at[image] = asyncio.get_running_loop().time()
        return image

    def standing(self, key: str) -> Standing | None:
        """How the build of this key stands; None when it is over, or never was."""
        build = self._builds.get(key)
        if build is None:
            return None
        ahead = list(self._line).index(build) if build in self._line else None
        return Standing(ahead, tuple(build.lines[-LINES_KEPT:]))

    async def follow(self, key: str) -> AsyncIterator[str]:
        """The log of this build from its beginning, piece by piece, until it is over; nothing for an empty
        key, as a deployment has that builds nothing."""
        if not key:
            return
        offset, news, build = 0, asyncio.Event(), self._builds.get(key)
        if build is not None:
            build.listeners.append(news.set)
        try:
            while True:
                news.clear()
                is_over = build is None or build.task.done()
                is_its_own = build is None or build.has_log or is_over
                text, offset = self._logs.read(key, offset) if is_its_own else ("", offset)
                if text:
                    yield text
                elif is_over:
                    return
                else:
                    await news.wait()
        finally:
            if build is not None:
                build.listeners.remove(news.set)

    def log_of(self, key: str) -> str:
        """All that is kept of the log of this build."""
        return self._logs.read(key)[0] if key else ""

    async def close(self) -> None:
        """End all of them; the next start begins them anew, with what the builder's cache has."""
        tasks = [build.task for build in self._builds.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, wanted: Wanted) -> _Build:
        build = self._builds[wanted.key] = _Build(wanted.key)
        build.task = asyncio.get_running_loop().create_task(self._made(wanted, build))
        build.task.add_done_callback(lambda _: self._over(build))
        return build

    def _over(self, build: _Build) -> None:
        self._forget(build)
        if not build.task.cancelled():
            build.task.exception()  # those who waited have heard of it; asyncio needn't tell anybody else
        _tell(build)

    def _forget(self, build: _Build) -> None:
        if self._builds.get(build.key) is build:
            del self._builds[build.key]

    async def _made(self, wanted: Wanted, build: _Build) -> str:
        found = await self._builder.find(wanted.app, wanted.key)
        if found is not None:
            return found
        self._logs.begin(wanted.key)
        build.has_log = True
        await self._wait_in_line(build)
        try:
            return await self._built(wanted, build)
        finally:
            self._free += 1
            self._advance()

    async def _built(self, wanted: Wanted, build: _Build) -> str:
        bound = log.bind(app=wanted.app, sha=wanted.sha, build=wanted.key)
        bound.info("build_begins")
        self._say(build, f"Fetching commit {wanted.sha}")
        async with self._sources.checkout(wanted.repository, wanted.origin, wanted.sha) as tree:
            order = BuildOrder(
                wanted.key,
                wanted.app,
                wanted.sha,
                tree,
                wanted.recipe,
                wanted.timeout,
                wanted.origin.by_stranger,
            )
            image = await self._builder.build(order, lambda line: self._say(build, line))
        bound.info("built", image=image)
        return image

    def _say(self, build: _Build, line: str) -> None:
        self._logs.add(build.key, line)
        build.lines = [*build.lines[-LINES_KEPT:], line]
        _tell(build)

    async def _wait_in_line(self, build: _Build) -> None:
        """Have one of the places, once those who came before have had theirs."""
        place = self._line[build] = asyncio.get_running_loop().create_future()
        for other in [b for b in self._builds.values() if not b.waiting]:
            self._end(other)
        self._advance()
        try:
            await place
        except asyncio.CancelledError:
            self._line.pop(build, None)
            if not place.cancelled():  # its turn came at the moment that it was given up
                self._free += 1
            self._advance()
            raise

    def _advance(self) -> None:
        while self._free > 0 and self._line:
            place = self._line.pop(next(iter(self._line)))
            if not place.done():
                self._free -= 1
                place.set_result(None)
        for build in self._line:
            _tell(build)

    def _look_away(self, build: _Build) -> None:
        """One of those who waited doesn't any more."""
        if build.waiting or build.task.done():
            return
        if self._line:
            self._end(build)
        else:
            asyncio.get_running_loop().call_later(LINGER, self._end_if_forgotten, build, build.came)

    def _end_if_forgotten(self, build: _Build, came: int) -> None:
        if build.came == came:
            self._end(build)

    def _end(self, build: _Build) -> None:
        """Whoever wants it from now on has it begun anew."""
        if not build.task.done():
            self._forget(build)
            build.task.cancel()


def _tell(build: _Build) -> None:
    for listener in tuple(build.listeners):
        listener()
