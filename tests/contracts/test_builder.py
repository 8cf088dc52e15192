"""What every builder promises. Each test runs against Docker and against the builder in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from stager.domain.errors import Fault
from stager.domain.leftovers import LeftoverKind
from stager.ports.builder import ImageFacts
from tests.contracts.builders import (
    BuilderUnderTest,
    FakeBuilderUnderTest,
    buildx_under_test,
    untrusted_under_test,
    why_no_buildx,
)
from tests.contracts.engines import PORT, why_no_docker
from tests.integration.own_builder import own_builder


@pytest.fixture(scope="module")
def helper() -> Iterator[Path]:
    """The socket of a root helper that starts builders for untrusted code."""
    if reason := why_no_docker() or why_no_buildx():
        pytest.skip(reason)
    with own_builder() as found:
        yield found.socket


KINDS = ["memory", *(pytest.param(kind, marks=pytest.mark.docker) for kind in ("docker", "untrusted"))]


@pytest.fixture(params=KINDS)
async def under_test(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BuilderUnderTest]:
    match request.param:
        case "memory":
            yield FakeBuilderUnderTest(tmp_path)
        case "docker":
            async with buildx_under_test(tmp_path) as docker:
                yield docker
        case _:
            helper: Path = request.getfixturevalue("helper")
            async with untrusted_under_test(tmp_path, helper) as docker:
                yield docker


def nobody(line: str) -> None:
    """Receives a build's log and discards it."""


async def built(under_test: BuilderUnderTest, does: str = "serves", key: str = "") -> str:
    return await under_test.builder.build(under_test.order(does, key=key), nobody)


class TestBuild:
    async def test_makes_an_image_that_is_found_by_its_key(self, under_test: BuilderUnderTest) -> None:
        order = under_test.order("serves")
        assert await under_test.builder.find(order.app, order.key) is None

        image = await under_test.builder.build(order, nobody)

        assert await under_test.has(image)
        assert await under_test.builder.find(order.app, order.key) == image
        assert await under_test.builder.find(order.app, under_test.order("serves").key) is None
        assert await under_test.builder.find("other", order.key) is None

    async def test_containers_are_made_of_the_image(self, under_test: BuilderUnderTest) -> None:
        await under_test.use(await built(under_test))

    async def test_images_of_different_commits_differ(self, under_test: BuilderUnderTest) -> None:
        assert await built(under_test) != await built(under_test)

    async def test_the_newest_by_a_key_counts(self, under_test: BuilderUnderTest) -> None:
        await built(under_test, "serves", "same")
        newest = await built(under_test, "silent", "same")

        assert await under_test.builder.find("shop", "same") == newest

    async def test_its_log_is_received(self, under_test: BuilderUnderTest) -> None:
        said: list[str] = []
        await under_test.builder.build(under_test.order("serves"), said.append)

        assert any("[2/2] RUN echo hello" in line for line in said)
        assert all("\n" not in line for line in said)

    async def test_one_that_fails(self, under_test: BuilderUnderTest) -> None:
        order = under_test.order("fails")
        with pytest.raises(Fault) as caught:
            await under_test.builder.build(order, nobody)

        assert caught.value.reason == "build-failed"
        assert "RUN" in caught.value.message
        assert "exit code 1" in caught.value.message
        assert "hello" in caught.value.detail
        assert await under_test.builder.find(order.app, order.key) is None

    async def test_one_that_takes_too_long(self, under_test: BuilderUnderTest) -> None:
        order = under_test.order("endless", timeout=2)
        with pytest.raises(Fault) as caught:
            await under_test.builder.build(order, nobody)

        assert caught.value.reason == "build-too-slow"
        assert "2 seconds" in caught.value.message
        assert await under_test.builder.find(order.app, order.key) is None

    async def test_one_that_is_cancelled(self, under_test: BuilderUnderTest) -> None:
        order = under_test.order("endless", timeout=3600)
        said = asyncio.Event()
        task = asyncio.create_task(under_test.builder.build(order, lambda _: said.set()))
        await said.wait()
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert await under_test.builder.find(order.app, order.key) is None


class TestFacts:
    async def test_of_an_image_that_says_something(self, under_test: BuilderUnderTest) -> None:
        facts = await under_test.builder.facts(await built(under_test))

        assert facts == ImageFacts((PORT,), PORT, ("53/udp",), has_healthcheck=True)

    async def test_of_one_that_says_nothing(self, under_test: BuilderUnderTest) -> None:
        assert await under_test.builder.facts(await built(under_test, "silent")) == ImageFacts()

    async def test_of_one_that_isnt_there(self, under_test: BuilderUnderTest) -> None:
        with pytest.raises(Fault) as caught:
            await under_test.builder.facts(f"sha256:{15:064x}")

        assert caught.value.reason == "image-missing"


class TestSweep:
    async def test_removes_what_isnt_needed(self, under_test: BuilderUnderTest) -> None:
        order = under_test.order("serves")
        unwanted = await under_test.builder.build(order, nobody)
        wanted = await built(under_test)

        [leftover] = await under_test.builder.leftovers([wanted])
        assert leftover.kind is LeftoverKind.IMAGE
        assert await under_test.has(unwanted)
        assert await under_test.builder.sweep([wanted]) == 1
        assert await under_test.builder.leftovers([wanted]) == []
        assert not await under_test.has(unwanted)
        assert await under_test.has(wanted)
        assert await under_test.builder.find(order.app, order.key) is None
        assert await under_test.builder.sweep([wanted]) == 0

    async def test_leaves_what_a_container_uses(self, under_test: BuilderUnderTest) -> None:
        used = await built(under_test)
        await under_test.use(used)

        assert await under_test.builder.sweep([]) == 0
        assert await under_test.has(used)

    async def test_leaves_what_isnt_ours(self, under_test: BuilderUnderTest) -> None:
        strange = await under_test.strange_image()
        await built(under_test)

        assert await under_test.builder.sweep([]) == 1
        assert await under_test.has(strange)
