"""A fake builder: tests set the results of builds.

Its images are images of a `FakeEngine`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from stager.domain.errors import Fault, Retry, StagerError
from stager.domain.leftovers import Leftover, LeftoverKind
from stager.ports.builder import BuildOrder, ImageFacts, Say
from stager.testing.fakes.engine import FakeEngine
from stager.testing.fakes.program import Program


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a build.

    Args:
        program: what the image does once it is started.
        facts: the image's metadata.
        lines: the build's log.
        failure: the error that it raises.
        seconds: its duration.
    """

    program: Program = field(default_factory=Program)
    facts: ImageFacts = field(default_factory=ImageFacts)
    lines: tuple[str, ...] = ("#1 [1/1] FROM stager-base/static:1",)
    failure: StagerError | None = None
    seconds: float = 0.0


class FakeBuilder:
    """See `stager.ports.builder.Builder`.

    Args:
        engine: runs its images; while it is away, builds fail, too.

    Attributes:
        results: results by the order's key or commit.
        default: the result of other builds.
        orders: all started builds, in order.
        running: the keys of running builds.
        cancelled: how often a build was cancelled, by key.
    """

    def __init__(self, engine: FakeEngine) -> None:
        self.results: dict[str, Result] = {}
        self.default = Result()
        self.orders: list[BuildOrder] = []
        self.running: Counter[str] = Counter()
        self.cancelled: Counter[str] = Counter()
        self._engine = engine
        self._made: dict[str, list[str]] = {}
        self._facts: dict[str, ImageFacts] = {}
        self._ordered: dict[str, BuildOrder] = {}

    # Called by tests.

    def builds(self, key: str) -> int:
        """The number of started builds with this key."""
        return sum(order.key == key for order in self.orders)

    def lose(self, key: str) -> None:
        """Remove the images of this key, as if outside Stager."""
        for image in self._made.pop(key, []):
            self._engine.remove_image(image)

    @property
    def images(self) -> set[str]:
        """The ids of all its images that still exist."""
        return {image for made in self._made.values() for image in made}

    def made_by(self, image: str) -> BuildOrder:
        """The order of the image with this id, even if it was removed."""
        return self._ordered[image]

    # The port.

    async def find(self, app: str, key: str) -> str | None:
        self._turn()
        made = [image for image in self._made.get(key, ()) if self._ordered[image].app == app]
        return made[-1] if made else None

    async def build(self, order: BuildOrder, say: Say) -> str:
        self._turn()
        self.orders.append(order)
        result = self.results.get(order.key) or self.results.get(order.sha) or self.default
        with self._counted(order.key):
            await self._take(result, order, say)
        self._turn()
        if result.failure is not None:
            raise result.failure
        image = self._engine.add_image(f"stager/{order.app}:{order.key}", result.program)
        self._made.setdefault(order.key, []).append(image)
        self._facts[image] = result.facts
        self._ordered[image] = order
        return image

    async def facts(self, image: str) -> ImageFacts:
        self._turn()
        if not self._engine.has_image(image):
            raise Fault(f"There is no image {image}.", reason="image-missing")
        return self._facts.get(image, ImageFacts())

    async def sweep(self, keep: Collection[str]) -> int:
        self._turn()
        unwanted = self._unwanted(keep)
        for image in unwanted:
            self._engine.remove_image(image)
        self._made = {key: [i for i in made if i not in unwanted] for key, made in self._made.items()}
        return len(unwanted)

    async def leftovers(self, keep: Collection[str]) -> list[Leftover]:
        self._turn()
        why = "no preview runs it or may be rolled back to it"
        return [Leftover(LeftoverKind.IMAGE, image, why) for image in sorted(self._unwanted(keep))]

    def _unwanted(self, keep: Collection[str]) -> set[str]:
        used = {self._engine.spec(instance.id).image for instance in self._engine.there()}
        return self.images - {*keep} - used

    async def _take(self, result: Result, order: BuildOrder, say: Say) -> None:
        for line in result.lines:
            say(line)
        try:
            async with asyncio.timeout(order.timeout):
                await asyncio.sleep(result.seconds)
        except TimeoutError as error:
            raise Fault(
                f"The build was given up after {order.timeout:g} seconds.", reason="build-too-slow"
            ) from error

    @contextmanager
    def _counted(self, key: str) -> Iterator[None]:
        self.running[key] += 1
        try:
            yield
        except asyncio.CancelledError:
            self.cancelled[key] += 1
            raise
        finally:
            self.running -= Counter([key])

    def _turn(self) -> None:
        if self._engine.is_away:
            raise Retry("The engine doesn't answer.", reason="engine-away")
