"""Docker is killed in the middle of a snapshot, a clone and a workbench's script, without and with a data
pool."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest

from stager.domain.environment import Instance
from stager.domain.errors import Retry, StagerError
from stager.domain.service import Mount
from stager.engines.docker import (
    DockerData,
    DockerImages,
    DockerInstances,
    DockerWorkbench,
    NetworkPool,
    connect,
)
from stager.engines.docker.data import DataHelper
from stager.engines.docker.data.archives import Archives
from stager.engines.docker.data.pool import Pool
from stager.engines.docker.data.volumes import Volumes
from stager.helper_client import HelperClient
from stager.ports.clock import RandomIds
from stager.ports.data import VolumeKey
from stager.ports.engine import Clone, InstanceSpec
from tests.contracts.engines import instance_labels, spec_of, with_settings
from tests.integration.images import APPLICATION
from tests.integration.own_engine import NETWORKS, NoEngineError, OwnEngine, own_engine
from tests.integration.own_pool import OwnPool, own_pool
from tests.integration.stager import docker

pytestmark = pytest.mark.docker

T = TypeVar("T")
BASE = VolumeKey("e1", "data")
RUNS = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
FILL = "head -c 30000000 /dev/urandom > /data/large; cd /data; sha256sum large > sum; sync"
CHECK = "cd /data && sha256sum -c sum"


class Storage:
    """Docker, with snapshots in a folder.

    Args:
        helper: keeps a pool; by default there is none.
    """

    def __init__(self, engine: OwnEngine, folder: Path, helper: DataHelper | None = None) -> None:
        self.installation = f"test-{RandomIds().new()}"
        self.docker = connect(engine.url)
        self.data = DockerData(self.docker, self.installation, folder, helper)
        volumes = self.data.volumes
        networks = NetworkPool(self.docker, self.installation, NETWORKS, 28)
        self.instances = DockerInstances(self.docker, self.installation, networks, volumes=volumes)
        self.workbench = DockerWorkbench(self.docker, self.installation, volumes, self.data.benches)

    async def spec(self, environment: str, snapshot: str = "") -> InstanceSpec:
        image = await DockerImages(self.docker).resolve(APPLICATION)
        spec = spec_of(instance_labels(environment, service="db"), image, ("sh", "-c", RUNS))
        spec = with_settings(spec, mounts=(Mount("/data", volume="data"),))
        clones = {"data": Clone(snapshot, "data")} if snapshot else {}
        return replace(spec, clones=clones, fresh_volumes=frozenset(clones))

    async def run(self, instance: Instance, script: str) -> None:
        ran = await self.instances.run(instance.id, ("sh", "-c", script), 60.0)
        assert ran.exit_code == 0, ran.output

    def left(self) -> set[str]:
        """The names of containers and volumes that aren't an environment's."""
        ours = f"label=stager.installation={self.installation}"
        rows = docker("ps", "--all", "--filter", ours, "--format", "{{json .}}").splitlines()
        containers = {json.loads(row)["Names"] for row in rows if "stager.environment" not in row}
        volumes = docker("volume", "ls", "--filter", ours, "--format", "{{.Name}}").split()
        return containers | {each for each in volumes if "-e1-" not in each and "-e2-" not in each}


@pytest.fixture
async def storage(engine: OwnEngine, tmp_path: Path) -> AsyncIterator[Storage]:
    storage = Storage(engine, tmp_path / "snapshots")
    yield storage
    await storage.docker.close()


async def stopped(storage: Storage) -> Instance:
    """A stopped instance with data."""
    base = await storage.instances.start((await storage.instances.create(await storage.spec("e1"))).id)
    await storage.run(base, FILL)
    assert await storage.instances.stop(base.id) == 0
    return base


def kill_while_reading(engine: OwnEngine, patch: pytest.MonkeyPatch) -> None:
    read = Archives.read

    async def cut(self: Archives, volume: str) -> AsyncGenerator[bytes]:
        async for piece in read(self, volume):
            yield piece
            engine.kill9()

    patch.setattr(Archives, "read", cut)


def kill_while_writing(engine: OwnEngine, patch: pytest.MonkeyPatch) -> None:
    write = Archives.write

    async def cut(archive: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        async for piece in archive:
            yield piece
            engine.kill9()

    async def write_some(self: Archives, volume: str, archive: AsyncIterator[bytes]) -> None:
        await write(self, volume, cut(archive))

    patch.setattr(Archives, "write", write_some)


def kill_before_writing(engine: OwnEngine, patch: pytest.MonkeyPatch) -> None:
    write = Archives.write

    async def write_late(self: Archives, volume: str, archive: AsyncIterator[bytes]) -> None:
        engine.kill9()
        await write(self, volume, archive)

    patch.setattr(Archives, "write", write_late)


def kill_after_writing(engine: OwnEngine, patch: pytest.MonkeyPatch) -> None:
    remove = Volumes.remove

    async def remove_late(self: Volumes, name: str) -> bool:
        if ".filling-" in name:
            engine.kill9()
        return await remove(self, name)

    patch.setattr(Volumes, "remove", remove_late)


async def test_a_snapshot_is_complete_or_missing(
    engine: OwnEngine, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stopped(storage)
    with monkeypatch.context() as patch:
        kill_while_reading(engine, patch)
        with pytest.raises(Retry):
            await storage.data.save("s1", {"data": BASE})
    engine.start()

    assert await storage.data.snapshots() == {}
    await storage.data.sweep()
    assert storage.left() == set()
    await storage.data.save("s1", {"data": BASE})
    created = await storage.instances.create(await storage.spec("e2", "s1"))
    await storage.run(await storage.instances.start(created.id), CHECK)


@pytest.mark.parametrize("kill", [kill_before_writing, kill_while_writing, kill_after_writing])
async def test_a_clone_is_complete(
    engine: OwnEngine,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    kill: Callable[[OwnEngine, pytest.MonkeyPatch], None],
) -> None:
    await stopped(storage)
    await storage.data.save("s1", {"data": BASE})
    spec = await storage.spec("e2", "s1")
    with monkeypatch.context() as patch:
        kill(engine, patch)
        with pytest.raises(StagerError):
            await storage.instances.create(spec)
    engine.start()

    created = await storage.instances.create(spec)
    await storage.run(await storage.instances.start(created.id), CHECK)
    await storage.data.sweep()
    assert storage.left() == set()


async def test_a_workbench_leaves_nothing(engine: OwnEngine, storage: Storage) -> None:
    await stopped(storage)
    await storage.data.save("s1", {"data": BASE})
    await storage.workbench.open("b1", {"data": Clone("s1", "data")})
    running = asyncio.ensure_future(
        storage.workbench.run("b1", await storage.spec("e1"), None, "sleep 60", {}, 60.0)
    )
    async with asyncio.timeout(30):
        while not any(each.endswith("-b1-db") for each in storage.left()):
            await asyncio.sleep(0.1)
    engine.kill9()
    with pytest.raises(Retry):
        await running
    with suppress(Retry):
        await storage.workbench.close("b1")
    engine.start()

    await storage.workbench.close("b1")
    await storage.data.sweep()
    assert storage.left() == set()
    created = await storage.instances.create(await storage.spec("e2", "s1"))
    await storage.run(await storage.instances.start(created.id), CHECK)


@dataclass(frozen=True, slots=True)
class Pooled:
    """Docker with a data pool, both in a mount namespace that outlives them."""

    engine: OwnEngine
    pool: OwnPool
    storage: Storage

    async def kept(self) -> tuple[set[str], set[str]]:
        """The names of the volumes and of the snapshots in the pool, and whatever else is there."""
        listed = await self.pool.call("list", installation=self.storage.installation)
        return {each["volume"] for each in listed["volumes"]}, {
            each["snapshot"] for each in listed["snapshots"]
        }

    def incomplete(self) -> list[str]:
        """What a call that was cut off left in the pool."""
        names = (path.name for path in self.pool.path(self.pool.pool).rglob("*"))
        return [name for name in names if name.startswith((".new-", ".gone-", ".links-"))]

    def volumes(self) -> set[str]:
        """The names of Docker's volumes."""
        ours = f"label=stager.installation={self.storage.installation}"
        return set(docker("volume", "ls", "--filter", ours, "--format", "{{.Name}}").split())


@pytest.fixture(scope="module")
def place(app_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OwnEngine, OwnPool]]:
    """A second engine and a pool, for all tests of this module."""
    with ExitStack() as stack:
        pool = stack.enter_context(own_pool())
        log = tmp_path_factory.mktemp("engine") / "dockerd.log"
        try:
            engine = stack.enter_context(own_engine(log, pool.process))
        except NoEngineError as why:
            pytest.skip(f"no Docker engine of the tests' own: {why}")
        engine.load(app_image)
        asyncio.run(pool.call("init", bytes=2 << 30, reserve=False))
        yield engine, pool


@pytest.fixture
async def pooled(
    place: tuple[OwnEngine, OwnPool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Pooled]:
    engine, pool = place
    engine.resume()
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    storage = Storage(engine, tmp_path / "snapshots", DataHelper(HelperClient(pool.socket), ""))
    yield Pooled(engine, pool, storage)
    await storage.docker.close()


def kill_around(
    engine: OwnEngine, patch: pytest.MonkeyPatch, owner: type[Pool], name: str, *, after: bool
) -> None:
    """Kill Docker before or after a call of the helper."""
    call = getattr(owner, name)

    async def cut(self: Pool, *arguments: object) -> object:
        if not after:
            engine.kill9()
        answer = await call(self, *arguments)
        if after:
            engine.kill9()
        return answer

    patch.setattr(owner, name, cut)


STEPS = [
    ("save", False),
    ("save", True),
    ("create", True),
    ("clone", False),
    ("clone", True),
    ("remove_volume", True),
    ("remove", True),
]
"""Calls of the pool, and whether Docker is killed after them instead of before."""


@pytest.mark.parametrize(("call", "after"), STEPS)
async def test_docker_killed_at_each_step_with_a_pool(
    pooled: Pooled, monkeypatch: pytest.MonkeyPatch, call: str, after: bool
) -> None:
    engine, storage = pooled.engine, pooled.storage
    base = await stopped(storage)
    if call != "save":
        await storage.data.save("s1", {"data": BASE})
    other, clone = await storage.spec("e2"), await storage.spec("e2", "s1")
    if call == "remove_volume":
        await storage.instances.remove((await storage.instances.create(clone)).id)

    with monkeypatch.context() as patch:
        kill_around(engine, patch, Pool, call, after=after)
        with suppress(StagerError):
            match call:
                case "save":
                    await storage.data.save("s1", {"data": BASE})
                case "create":
                    await storage.instances.create(other)
                case "clone":
                    await storage.instances.create(clone)
                case "remove_volume":
                    await storage.instances.sweep({"e1": [0]})
                case "remove":
                    await storage.data.remove("s1")
    engine.resume()

    # What was there is whole, and what was asked for is done when it is asked for again.
    await storage.data.sweep()
    assert pooled.incomplete() == []
    _, snapshots = await pooled.kept()
    assert snapshots <= {"s1"}
    await storage.run(await storage.instances.start(base.id), CHECK)
    assert await storage.instances.stop(base.id) == 0
    if not snapshots:
        await storage.data.save("s1", {"data": BASE})
    created = await storage.instances.create(clone)
    await storage.run(await storage.instances.start(created.id), CHECK)

    await storage.instances.remove(created.id)
    await storage.instances.remove(base.id)
    await storage.data.remove("s1")
    await storage.instances.sweep({})
    assert pooled.volumes() == set()
    assert await pooled.kept() == (set(), set())
    assert pooled.incomplete() == []
