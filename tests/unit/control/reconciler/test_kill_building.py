"""`kill -9` at every second point of what is built from source, and with `LONGER` at all; see `test_kill`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stager.domain.errors import Fault
from stager.domain.pull_requests.events import ChangeEvent
from stager.domain.recipe import Hook, Hooks, Recipe
from stager.domain.source import Access
from stager.domain.status import State
from stager.ports.builder import ImageFacts
from stager.testing.fakes.builder import Result
from tests.length import LONGER
from tests.unit.control.harness import SHOP, Harness
from tests.unit.control.reconciler.test_kill import Scenario, play

APP = replace(
    SHOP,
    image="",
    port=None,
    owner="acme",
    build=Recipe(),
    repository_file=".stager.yml",
    repository_file_keys=frozenset({"command"}),
    hooks=Hooks(after_launch=(Hook(("bin/seed",)),), before_kill=(Hook(("bin/bye",)),)),
)
MADE = Result(facts=ImageFacts((3000,)), seconds=5, lines=("#1 FROM base", "#2 RUN make"))
BROKEN = Result(failure=Fault("RUN make failed.", reason="build-failed", detail="no such target"), seconds=5)
URL = "https://forge.test/acme/shop.git"
SHA = "abcdef0123" * 4


class Built(Scenario):
    """Each of these; what is live was built by the commit that it should be, and its hooks have run in it."""

    @classmethod
    def harness_for(cls, *, credentials: bool) -> Harness:
        harness = Harness([APP], credentials=credentials)
        harness.builder.default = MADE
        harness.sources.add(URL, "m1", {"Dockerfile": "", ".stager.yml": "command: run"}, "refs/heads/main")
        return harness

    async def assert_live_and_reported(self, sha: str, generation: int) -> None:
        await super().assert_live_and_reported(sha, generation)
        [instance] = self.harness.engine.there()
        assert (instance.id, ("bin/seed",)) in self.harness.engine.ran
        assert self.harness.engine.spec(instance.id).container.port == 3000
        assert self.harness.builder.running.total() == 0
        assert self.harness.sources.folders == set()


class Opened(Built):
    async def before(self) -> None:
        pass

    async def happen(self) -> None:
        await self.deliver(self.harness.forge.open(self.repository, "feature-x", "a1"))

    async def at_the_end(self) -> None:
        await self.assert_live_and_reported("a1", 1)
        builds = self.harness.running.control_plane.builds.queue
        assert builds is not None
        assert builds.log_of((await self.harness.deployment()).build).endswith("#2 RUN make\n")


class Pushed(Built):
    uninterrupted = True

    async def happen(self) -> None:
        await self.deliver(self.harness.forge.push(self.event, "b2"))

    async def at_the_end(self) -> None:
        await self.assert_live_and_reported("b2", 2)
        assert (await self.harness.status()).state is State.LIVE


class BrokenPush(Pushed):
    async def happen(self) -> None:
        self.harness.builder.results["b2"] = BROKEN
        await super().happen()

    async def at_the_end(self) -> None:
        await self.assert_live_and_reported("a1", 1)
        assert (await self.harness.status()).state is State.FAILED_UPDATE
        self.assert_one_comment("newest commit failed", "no such target")


class Closed(Built):
    async def happen(self) -> None:
        await self.deliver(self.harness.forge.close(self.event))

    async def at_the_end(self) -> None:
        await self.harness.assert_gone()
        assert [command for _, command in self.harness.engine.ran][-1] == ("bin/bye",)
        await self.harness.rest(1_300)
        assert not any(self.harness.builder._made.values())


class Approved(Built):
    """A fork's commit, by a comment."""

    url = "http://feature-x-"  # a stranger's branch doesn't get the name alone

    async def before(self) -> None:
        fork = self.harness.forge.add_repository("mallory", "shop")
        self.harness.forge.allow(self.repository, "ann", Access.WRITE)
        self.event: ChangeEvent = await self.deliver(
            self.harness.forge.open(self.repository, "feature-x", SHA, fork=fork)
        )

    async def happen(self) -> None:
        await self.harness.deliver(self.harness.forge.say(self.event, f"/stager approve {SHA}", "ann"))

    async def at_the_end(self) -> None:
        environment = await self.harness.the()
        if not environment.approved_sha:  # it was killed before the comment was recorded
            assert self.harness.engine.there() == []
            return
        await self.assert_live_and_reported(SHA, environment.desired.generation)
        assert environment.desired.generation <= 3


SCENARIOS = [Opened, Pushed, BrokenPush, Closed, Approved]


@pytest.mark.parametrize("kind", SCENARIOS)
async def test_killed_at_every_point(kind: type[Scenario]) -> None:
    wire = await play(kind)
    assert len(wire.distinct) > 20
    if kind is Opened:
        points = {"before build", "after build", "before read", "before facts", "before run"}
        assert points <= set(wire.passed)
    wrong = []
    for at in wire.distinct if LONGER > 1 else wire.distinct[::2]:
        try:
            await play(kind, at)
        except AssertionError as error:
            wrong.append(f"killed {wire.passed[at]} (point {at}): {str(error).splitlines()[0]}")
    assert wrong == []
