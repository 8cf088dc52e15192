"""Services of one environment: their names, networks and volumes. Each test runs against Docker and against
the engine in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from stager.domain.environment import Instance, InstanceState
from stager.domain.errors import Fault, Retry
from stager.domain.leftovers import LeftoverKind
from stager.domain.profile import ProfileName
from stager.domain.service import Mount
from stager.ports.engine import Volume
from tests.contracts.engines import (
    PORT,
    Engine,
    instance_labels,
    with_settings,
)
from tests.contracts.services import accepts, made, started

DATA = Mount("/data", volume="data")


async def found(engine: Engine, instance: Instance) -> Instance:
    [same] = [i for i in await engine.instances.find(instance.environment) if i.id == instance.id]
    return same


class TestNames:
    async def test_services_of_a_generation_reach_each_other_by_all_their_names(self, engine: Engine) -> None:
        web, cache = await started(engine, "web"), await started(engine, "cache", aliases=("redis",))

        assert await engine.reached(web.id, "cache") == {"e1-cache1"}
        assert await engine.reached(web.id, "redis") == {"e1-cache1"}
        assert await engine.reached(cache.id, "web") == {"e1-web1"}
        assert await engine.reached(web.id, "database") == set()
        assert web.network == cache.network
        assert web.generations == cache.generations == {1}

    async def test_generations_side_by_side_reach_only_their_own(self, engine: Engine) -> None:
        web1, cache1 = await started(engine, "web"), await started(engine, "cache")
        web2, cache2 = await started(engine, "web", 2), await started(engine, "cache", 2)

        assert await engine.reached(web1.id, "cache") == {"e1-cache1"}
        assert await engine.reached(web2.id, "cache") == {"e1-cache2"}
        assert await engine.reached(cache2.id, "web") == {"e1-web2"}
        assert (await found(engine, cache1)).generations == {1}
        assert (await found(engine, cache2)).generations == {2}

    async def test_environments_with_the_same_names_are_apart(self, engine: Engine) -> None:
        mine, theirs = await started(engine, "web"), await started(engine, "web", environment="e2")
        await started(engine, "cache", environment="e2")

        assert await engine.reached(mine.id, "web") == {"e1-web1"}
        assert await engine.reached(theirs.id, "web") == {"e2-web1"}
        assert await engine.reached(mine.id, "cache") == set()


class TestKept:
    """A service in its environment's network."""

    async def test_joins_its_own_generation_when_it_is_created(self, engine: Engine) -> None:
        database = await made(engine, "db", kept=True, mounts=(DATA,))
        assert database.generations == (await found(engine, database)).generations == {1}
        assert len(database.joined) == 1
        assert database.network not in database.joined

        database = await engine.instances.start(database.id)
        web = await started(engine, "web")
        assert await engine.reached(web.id, "db") == {"e1-db1"}
        assert await engine.reached(database.id, "web") == {"e1-web1"}
        assert {web.network} == database.joined

    async def test_joins_another_generation(self, engine: Engine) -> None:
        database, web1 = await started(engine, "db", kept=True), await started(engine, "web")
        joined = await engine.instances.join(database.id, 2)
        assert joined.generations == {1, 2}
        web2 = await started(engine, "web", 2)

        for web in (web1, web2):
            assert await engine.reached(web.id, "db") == {"e1-db1"}
        assert await engine.reached(web1.id, "web") == {"e1-web1"}
        now = await found(engine, database)
        assert now.generations == {1, 2}
        assert (now.network, now.endpoint) == (database.network, database.endpoint)
        assert now.joined == {web1.network, web2.network}

    async def test_two_versions_are_side_by_side(self, engine: Engine) -> None:
        await started(engine, "db", kept=True)
        await started(engine, "db", 2, kept=True)
        web1, web2 = await started(engine, "web"), await started(engine, "web", 2)

        assert await engine.reached(web1.id, "db") == {"e1-db1"}
        assert await engine.reached(web2.id, "db") == {"e1-db2"}

    async def test_a_new_one_joins_the_old_generation(self, engine: Engine) -> None:
        old, web1 = await started(engine, "db", kept=True), await started(engine, "web")
        await engine.instances.remove(old.id)
        new = await started(engine, "db", 2, kept=True)
        await engine.instances.join(new.id, 1)

        assert await engine.reached(web1.id, "db") == {"e1-db2"}

    async def test_joining_again_has_no_effect(self, engine: Engine) -> None:
        database = await started(engine, "db", kept=True)
        first = await engine.instances.join(database.id, 2)
        again = await engine.instances.join(database.id, 2)

        assert (first.joined, first.generations) == (again.joined, again.generations)
        assert await engine.instances.join(database.id, 1)
        assert (await found(engine, database)).generations == {1, 2}

    async def test_joins_before_it_runs_and_is_still_in_after_an_end(self, engine: Engine) -> None:
        database = await made(engine, "db", kept=True)
        await engine.instances.join(database.id, 2)
        await engine.instances.start(database.id)
        web = await started(engine, "web", 2)
        assert await engine.reached(web.id, "db") == {"e1-db1"}

        await engine.kill(database.id)
        async with asyncio.timeout(10):
            while (now := await found(engine, database)).state is not InstanceState.STOPPED:
                await asyncio.sleep(0.02)
        assert now.generations == {1, 2}
        again = await engine.instances.start(database.id)
        while not await accepts(engine, again):
            await asyncio.sleep(0.02)
        assert await engine.reached(web.id, "db") == {"e1-db1"}

    async def test_one_that_was_removed_doesnt_join(self, engine: Engine) -> None:
        database = await made(engine, "db", kept=True)
        await engine.instances.remove(database.id)
        with pytest.raises(Retry) as caught:
            await engine.instances.join(database.id, 2)

        assert caught.value.reason == "instance-gone"

    async def test_the_only_service_of_an_application_joins_nothing(self, engine: Engine) -> None:
        instance = await engine.instances.create(await engine.spec("runs", instance_labels()))

        assert (instance.joined, instance.generations) == (frozenset(), frozenset())
        assert (await found(engine, instance)).generations == frozenset()


class TestEndpoints:
    async def test_a_service_without_a_port_has_an_address(self, engine: Engine) -> None:
        spec = await engine.service(instance_labels(service="worker"), "worker", network=1)
        made = await engine.instances.create(with_settings(spec, port=None))
        worker = await engine.instances.start(made.id)

        assert worker.endpoint
        assert worker.endpoint.port == 0
        assert await engine.prober.accepts(replace(worker.endpoint, port=PORT)) in (True, False)

    async def test_a_job_keeps_its_exit_code(self, engine: Engine) -> None:
        spec = await engine.spec("exits", instance_labels(service="migrate"))
        job = await engine.instances.create(replace(spec, aliases=("migrate",), network=1))
        await engine.instances.start(job.id)
        async with asyncio.timeout(10):
            while (now := await found(engine, job)).state is not InstanceState.STOPPED:
                await asyncio.sleep(0.02)
        await engine.instances.sweep()

        assert (now.exit_code, (await found(engine, job)).exit_code) == (3, 3)


class TestSweep:
    async def test_removes_the_network_of_a_generation_that_only_kept_ones_are_in(
        self, engine: Engine
    ) -> None:
        database, web1 = await started(engine, "db", kept=True), await started(engine, "web")
        await engine.instances.join(database.id, 2)
        web2 = await started(engine, "web", 2)
        assert await engine.instances.sweep() == 0
        await engine.instances.remove(web1.id)

        assert [each.kind for each in await engine.instances.leftovers()] == [LeftoverKind.NETWORK]
        assert await engine.instances.sweep() == 1
        assert await engine.instances.sweep() == 0
        assert (await found(engine, database)).generations == {2}
        assert await engine.reached(web2.id, "db") == {"e1-db1"}
        await engine.kill(database.id)
        assert await engine.instances.start(database.id)

    async def test_leaves_the_network_of_a_generation_that_has_no_own_instance_yet(
        self, engine: Engine
    ) -> None:
        database, web1 = await started(engine, "db", kept=True), await started(engine, "web")
        assert await engine.instances.sweep() == 0
        await engine.instances.join(database.id, 2)
        await engine.instances.remove(web1.id)
        assert await engine.instances.sweep() == 0
        web2 = await started(engine, "web", 2)

        assert await engine.reached(web2.id, "db") == {"e1-db1"}
        assert await engine.instances.sweep() == 1

    async def test_removes_everything_after_the_last_instance(self, engine: Engine) -> None:
        instances = [
            await started(engine, "db", kept=True, mounts=(DATA,)),
            await started(
                engine, "web", mounts=(Mount("/tmp/x", volume="x"),), fresh_volumes=frozenset({"x"})
            ),
        ]
        assert await engine.instances.sweep({}) == 0
        for instance in instances:
            await engine.instances.remove(instance.id)

        assert await engine.instances.sweep({}) == 4
        assert await engine.instances.sweep({}) == 0

    async def test_while_services_are_created(self, engine: Engine) -> None:
        async def create(number: int) -> None:
            await made(engine, "db", kept=True, environment=f"e{number}", mounts=(DATA,))
            await made(engine, "web", environment=f"e{number}")

        creating = asyncio.gather(*(create(number) for number in range(4)))
        while not creating.done():
            await engine.instances.sweep({})
            await asyncio.sleep(0.005)
        await creating

        for number in range(4):
            assert await engine.instances.volumes(f"e{number}") != []
            for instance in await engine.instances.find(f"e{number}"):
                assert (await engine.instances.start(instance.id)).state is InstanceState.RUNNING

    async def test_services_created_at_the_same_time_share_their_network(self, engine: Engine) -> None:
        instances = await asyncio.gather(*(made(engine, name) for name in ("web", "worker", "cache")))

        assert len({instance.network for instance in instances}) == 1

    async def test_a_prepared_network_is_the_generations(self, engine: Engine) -> None:
        async with engine.instances.prepared("e1", ProfileName.STANDARD, 1):
            await asyncio.sleep(0.5)
            assert await engine.instances.sweep() == 0
            web = await made(engine, "web")
        assert await engine.instances.sweep() == 0
        await engine.instances.remove(web.id)
        assert await engine.instances.sweep() == 1


class TestVolumes:
    async def test_one_is_the_environments_and_a_fresh_one_its_generations(self, engine: Engine) -> None:
        for generation in (1, 2):
            await made(
                engine,
                "db",
                generation,
                kept=True,
                mounts=(DATA, Mount("/tmp/run", volume="run"), Mount("/own")),
                fresh_volumes=frozenset({"run"}),
            )
        await made(engine, "db", kept=True, environment="e2", mounts=(DATA,))

        assert named(await engine.instances.volumes("e1")) == [("data", 0), ("run", 1), ("run", 2)]
        assert named(await engine.instances.volumes("e2")) == [("data", 0)]
        assert await engine.instances.volumes("e3") == []

    async def test_a_fresh_one_ends_with_its_generation(self, engine: Engine) -> None:
        fresh: dict[str, Any] = {
            "mounts": (DATA, Mount("/run", volume="run")),
            "fresh_volumes": frozenset({"run"}),
        }
        first = await made(engine, "db", kept=True, **fresh)
        await made(engine, "db", 2, kept=True, **fresh)
        await engine.instances.remove(first.id)
        await engine.instances.sweep({})

        assert named(await engine.instances.volumes("e1")) == [("data", 0), ("run", 2)]

    async def test_an_environment_without_instances_keeps_its_own(self, engine: Engine) -> None:
        for environment in ("e1", "e2"):
            await made(engine, "db", kept=True, environment=environment, mounts=(DATA,))
            for instance in await engine.instances.find(environment):
                await engine.instances.remove(instance.id)
        await engine.instances.sweep()
        await engine.instances.sweep({"e1": [0], "e2": [0]})
        assert named(await engine.instances.volumes("e2")) == [("data", 0)]
        await engine.instances.sweep({"e1": [0]})

        assert named(await engine.instances.volumes("e1")) == [("data", 0)]
        assert await engine.instances.volumes("e2") == []

    @pytest.mark.parametrize("name", ["../x", "/etc", "a/b", "-x", "x y", "x:y", ".x", "ä", "x\n", "x" * 101])
    async def test_one_with_an_impossible_name_is_refused(self, engine: Engine, name: str) -> None:
        with pytest.raises(Fault) as caught:
            await made(engine, "db", kept=True, mounts=(Mount("/data", volume=name),))

        assert caught.value.reason == "volume-invalid"
        assert await engine.instances.find() == []


def named(volumes: list[Volume]) -> list[tuple[str, int]]:
    return [(volume.name, volume.generation) for volume in volumes]
