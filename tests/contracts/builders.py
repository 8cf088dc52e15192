"""The builders that `test_builder` tests: one word describes the result of a build to both."""

from __future__ import annotations

import functools
import itertools
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from stager.domain.errors import Fault
from stager.domain.recipe import Recipe
from stager.engines.docker import BuildxBuilder, connect
from stager.engines.docker.build.by_trust import BuilderByTrust
from stager.engines.docker.build.untrusted import Lending, UntrustedBuilder
from stager.helper_client import HelperClient
from stager.ports.builder import Builder, BuildOrder, ImageFacts
from stager.ports.clock import RandomIds
from stager.testing import FakeBuilder, FakeEngine, Result
from tests.contracts.engines import IMAGE, PORT, instance_labels, spec_of, why_no_docker
from tests.docker_socket import remove_labelled

_numbers = itertools.count(1)


class BuilderUnderTest(Protocol):
    """A builder under test."""

    builder: Builder

    def order(self, does: str, *, key: str = "", timeout: float = 60) -> BuildOrder:
        """An order of which an image comes that `serves` on a port, or that says nothing of itself
        (`silent`); that `fails`; or that takes too long (`endless`). Each is of a commit of its own."""

    async def use(self, image: str) -> None:
        """Make a container of the image."""

    async def strange_image(self) -> str:
        """An image that isn't ours."""

    async def has(self, image: str) -> bool:
        """Whether the image with this id is there."""


def an_order(tree: Path, *, key: str = "", timeout: float = 60, recipe: Recipe | None = None) -> BuildOrder:
    """An order with a key and a commit of its own by default."""
    number = next(_numbers)
    return BuildOrder(
        key=key or f"key{number:04}",
        app="shop",
        sha=f"{number:040x}",
        tree=tree,
        recipe=recipe or Recipe(),
        timeout=timeout,
    )


ENGINE = "unix:///var/run/docker.sock"

_DOCKERFILES = {
    "serves": f"RUN echo hello\nEXPOSE {PORT} 53/udp\nHEALTHCHECK CMD true\nCMD httpd -f -p {PORT}",
    "silent": "ENV QUIET=yes",
    "fails": "RUN echo hello; false",
    "endless": "RUN sleep 3600",
}
_RESULTS = {
    "serves": Result(
        facts=ImageFacts((PORT,), PORT, ("53/udp",), has_healthcheck=True),
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

    async def use(self, image: str) -> None:
        await self._engine.create(spec_of(instance_labels(), image, stop_grace_period=10.0))

    async def strange_image(self) -> str:
        return self._engine.add_image("acme/strange:1")

    async def has(self, image: str) -> bool:
        return self._engine.has_image(image)


class BuildxUnderTest:
    """Docker's builder, as an installation of its own."""

    def __init__(self, folder: Path, installation: str) -> None:
        self.installation = installation
        self.docker = connect(ENGINE)
        self.builder: Builder = BuildxBuilder(self.docker, ENGINE, installation)
        self._folder = folder

    def order(self, does: str, *, key: str = "", timeout: float = 60) -> BuildOrder:
        return self.order_of(f"FROM {IMAGE}\n{_DOCKERFILES[does]}\n", key=key, timeout=timeout)

    def order_of(
        self, dockerfile: str, *, key: str = "", timeout: float = 60, recipe: Recipe | None = None
    ) -> BuildOrder:
        """An order of a tree with nothing but this Dockerfile in it."""
        tree = self._folder / f"tree{next(_numbers)}"
        tree.mkdir()
        (tree / "Dockerfile").write_text(dockerfile)
        return an_order(tree, key=key, timeout=timeout, recipe=recipe)

    async def use(self, image: str) -> None:
        docker("create", "--label", "stager.test", "--network", "none", image)

    async def strange_image(self) -> str:
        """One that another installation made."""
        order = self.order("silent")
        return await BuildxBuilder(self.docker, ENGINE, f"{self.installation}-b").build(order, lambda _: None)

    async def has(self, image: str) -> bool:
        return docker_knows(image)


class UntrustedUnderTest(BuildxUnderTest):
    """The builder for untrusted code, with Docker's beside it."""

    def __init__(self, folder: Path, installation: str, helper: Path) -> None:
        super().__init__(folder, installation)
        trusted = BuildxBuilder(self.docker, ENGINE, installation)
        lending = Lending(images=(IMAGE,))
        untrusted = UntrustedBuilder(HelperClient(helper), self.docker, trusted, lending)
        self.builder = BuilderByTrust(trusted, untrusted)

    def order_of(
        self, dockerfile: str, *, key: str = "", timeout: float = 60, recipe: Recipe | None = None
    ) -> BuildOrder:
        return replace(super().order_of(dockerfile, key=key, timeout=timeout, recipe=recipe), untrusted=True)


@asynccontextmanager
async def untrusted_under_test(folder: Path, helper: Path) -> AsyncIterator[UntrustedUnderTest]:
    """The builder for untrusted code that this helper starts; see `buildx_under_test`."""
    async with _with_nothing_left(UntrustedUnderTest(folder, f"test-{RandomIds().new()}", helper)) as found:
        yield found


@asynccontextmanager
async def buildx_under_test(folder: Path) -> AsyncIterator[BuildxUnderTest]:
    """Docker's builder, with nothing left behind at the end. Skips where there is none."""
    if reason := why_no_docker() or why_no_buildx():
        pytest.skip(reason)
    async with _with_nothing_left(BuildxUnderTest(folder, f"test-{RandomIds().new()}")) as found:
        yield found


_Docker = TypeVar("_Docker", bound=BuildxUnderTest)


@asynccontextmanager
async def _with_nothing_left(under_test: _Docker) -> AsyncIterator[_Docker]:
    try:
        yield under_test
    finally:
        await under_test.docker.close()
        remove_labelled(f"stager.installation={under_test.installation}")
        remove_images(under_test.installation)
        remove_images(f"{under_test.installation}-b")


def docker(*arguments: str) -> str:
    """What `docker` with these arguments says."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def docker_knows(image: str) -> bool:
    """Whether Docker has this image."""
    inspect = ["docker", "image", "inspect", image]
    return subprocess.run(inspect, capture_output=True, check=False).returncode == 0


def remove_images(installation: str) -> None:
    """Remove every image that has this installation's label or a name of its own."""
    listing = [
        "docker",
        "images",
        "--quiet",
        "--no-trunc",
        "--filter",
        f"label=stager.installation={installation}",
    ]
    there = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()
    by_name = [*listing[:-1], f"reference=stager/{installation}-*"]
    there += subprocess.run(by_name, capture_output=True, text=True, check=True).stdout.split()
    if there:
        subprocess.run(["docker", "rmi", "--force", *set(there)], capture_output=True, check=False)


@functools.cache
def why_no_buildx() -> str:
    """Why nothing can be built on this machine; empty where it can."""
    version = ["docker", "buildx", "version"]
    there = subprocess.run(version, capture_output=True, check=False).returncode == 0
    return "" if there else "there is no docker buildx: scripts/setup gets it"
