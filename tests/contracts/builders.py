"""The builders of which `test_builder` asks the same: what comes of a build is told in one word to both."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Protocol

from stager.domain.environment import Instance
from stager.domain.errors import Fault
from stager.domain.recipe import Recipe
from stager.ports.builder import Builder, BuildOrder, ImageFacts
from stager.ports.engine import InstanceSpec
from stager.testing import FakeBuilder, FakeEngine, Result
from tests.contracts.engines import LIMITS, PORT, birth

_numbers = itertools.count(1)


class BuilderUnderTest(Protocol):
    """A builder under test."""

    builder: Builder

    def order(self, does: str, *, key: str = "", timeout: float = 60) -> BuildOrder:
        """An order of which an image comes that `serves` on a port, or that says nothing of itself
        (`silent`); that `fails`; or that takes too long (`endless`). Each is of a commit of its own."""

    async def use(self, image: str) -> Instance:
        """Make a container of the image."""

    async def strange_image(self) -> str:
        """An image that isn't ours."""

    async def has(self, image: str) -> bool:
        """Whether the image with this id is there."""


def an_order(tree: Path, *, key: str = "", timeout: float = 60, recipe: Recipe | None = None) -> BuildOrder:
    """An order with a key and a commit of its own, unless told."""
    number = next(_numbers)
    return BuildOrder(
        key=key or f"key{number:04}",
        app="shop",
        sha=f"{number:040x}",
        tree=tree,
        recipe=recipe or Recipe(),
        timeout=timeout,
    )


_RESULTS = {
    "serves": Result(
        facts=ImageFacts(ports=(PORT,), has_healthcheck=True),
        lines=("#1 [1/2] FROM x", "#2 [2/2] RUN echo hello"),
    ),
    "silent": Result(),
    "fails": Result(
        failure=Fault(
            "Building failed at step 2/2: RUN false (exit code 1).", reason="build-failed", detail="hello"
        )
    ),
    "endless": Result(seconds=3600),
}


class FakeBuilderUnderTest:
    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._engine = FakeEngine()
        self._builder = FakeBuilder(self._engine)
        self.builder: Builder = self._builder

    def order(self, does: str, *, key: str = "", timeout: float = 60) -> BuildOrder:
        order = an_order(self._tree, key=key, timeout=timeout)
        self._builder.results[order.sha] = _RESULTS[does]
        return order

    async def use(self, image: str) -> Instance:
        return await self._engine.create(InstanceSpec(birth(), image, (), PORT, {}, LIMITS))

    async def strange_image(self) -> str:
        return self._engine.add_image("acme/strange:1")

    async def has(self, image: str) -> bool:
        return self._engine.has_image(image)
