"""The storages of which `test_data` asks the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from stager.domain.environment import Instance
from stager.domain.service import Mount
from stager.engines.docker import DockerData, DockerInstances, DockerWorkbench, NetworkPool
from stager.engines.docker.data import DataHelper
from stager.helper_client import HelperClient
from stager.ports.clock import RandomIds
from stager.ports.data import Data, VolumeKey, Workbench
from stager.ports.engine import Clone, Instances, InstanceSpec, Ran
from stager.testing import FakeData, FakeEngine, Program
from stager.testing.fakes.volumes import Files
from tests.contracts.engines import (
    IMAGE,
    POOL,
    DockerUnderTest,
    docker_under_test,
    instance_labels,
    spec_of,
    with_settings,
)
from tests.integration.own_pool import OwnPool, dockerd, own_pool

POOL_SIZE = 2 << 30
FOLDER = "/data"
DATA = Mount(FOLDER, volume="data")
_RUNS = "trap 'exit 0' TERM INT; echo ready; while :; do sleep 0.05; done"
_PROGRAMS = {
    "runs": (Program(status=None, output="ready"), _RUNS),
    "exits": (Program(exit_code=3, output="no such table"), "echo no such table; exit 3"),
    "stops-unclean": (
        Program(status=None, stop_code=7),
        "trap 'exit 7' TERM; while :; do sleep 0.05; done",
    ),
}
_LIST = """\
cd /data
for f in *; do [ -f "$f" ] && ! [ -L "$f" ] && printf "%s=%s\n" "$f" "$(cat "$f")"; done
true
"""


class DataUnderTest(Protocol):
    """A storage under test, and an engine with its volumes."""

    instances: Instances
    data: Data
    workbench: Workbench
    scripts: Mapping[str, str]
    """Scripts that `mask` the file `name` of the volume `data`, `fail` with exit code 3 and output, or `load`
    the file `/tmp/dump` into the file `loaded`."""

    async def spec(self, does: str, environment: str = "e1", generation: int = 1) -> InstanceSpec:
        """An instance with the volume `data` that `runs`, `exits`, or `stops-unclean`."""

    async def write(self, instance: Instance, name: str, text: str) -> None:
        """Write a file into the volume of a running instance."""

    async def files(self, instance: Instance) -> Files:
        """The files in the volume of a running instance."""

    async def restarted(self) -> None:
        """Be as after Stager was killed and started again."""


def cloned(spec: InstanceSpec, snapshot: str, *without: str) -> InstanceSpec:
    """The same instance, whose volume is a clone."""
    clones = {"data": Clone(snapshot, "data", without)}
    return replace(spec, fresh_volumes=frozenset({"data"}), clones=clones)


class FakeDataUnderTest:
    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.fake = FakeData(self.engine)
        self.instances: Instances = self.engine
        self.data: Data = self.fake
        self.workbench: Workbench = self.fake
        self.scripts: Mapping[str, str] = {"mask": "mask", "fail": "fail", "load": "load"}
        self.fake.scripts = {"mask": _mask, "fail": _fail, "load": self._load}

    def _load(self, volumes: Mapping[str, Files]) -> Ran:
        volumes["data"]["loaded"] = self.fake.copied["/tmp/dump"].decode()
        return Ran(0, "")

    async def spec(self, does: str, environment: str = "e1", generation: int = 1) -> InstanceSpec:
        labels = instance_labels(environment, generation, "db")
        image = self.engine.add_image(f"{does}-{labels.deployment}", _PROGRAMS[does][0])
        return with_settings(spec_of(labels, image), mounts=(DATA,))

    async def write(self, instance: Instance, name: str, text: str) -> None:
        self._volume(instance)[name] = text

    async def files(self, instance: Instance) -> Files:
        return dict(self._volume(instance))

    def _volume(self, instance: Instance) -> Files:
        number = self.engine.spec(instance.id).number_of("data")
        return self.engine.stored.files[VolumeKey(instance.environment, "data", number)]

    async def restarted(self) -> None:
        self.fake.lose_benches()


def _mask(volumes: Mapping[str, Files]) -> Ran:
    volumes["data"]["name"] = "masked"
    return Ran(0, "")


def _fail(_: Mapping[str, Files]) -> Ran:
    return Ran(3, "no such column\n")


class DockerDataUnderTest:
    """Docker, with snapshots in a folder."""

    scripts: Mapping[str, str] = {
        "mask": f"printf masked > {FOLDER}/name",
        "fail": "echo no such column; exit 3",
        "load": f"cat /tmp/dump > {FOLDER}/loaded",
    }

    def __init__(self, engine: DockerUnderTest, folder: Path, helper: DataHelper | None = None) -> None:
        self.engine = engine
        self.folder = folder
        self.helper = helper or DataHelper()
        self.open()

    def open(self) -> None:
        docker, installation = self.engine.docker, self.engine.installation
        self.docker_data = DockerData(docker, installation, self.folder, self.helper)
        volumes = self.docker_data.volumes
        networks = NetworkPool(docker, installation, POOL, 28)
        self.instances: Instances = DockerInstances(docker, installation, networks, volumes=volumes)
        self.data: Data = self.docker_data
        self.workbench: Workbench = DockerWorkbench(docker, installation, volumes, self.docker_data.benches)

    async def spec(self, does: str, environment: str = "e1", generation: int = 1) -> InstanceSpec:
        labels = instance_labels(environment, generation, "db")
        image = await self.engine.images.resolve(IMAGE)
        return with_settings(spec_of(labels, image, ("sh", "-c", _PROGRAMS[does][1])), mounts=(DATA,))

    async def write(self, instance: Instance, name: str, text: str) -> None:
        await self.run(instance, 'printf %s "$2" > "/data/$1"', name, text)

    async def files(self, instance: Instance) -> Files:
        lines = (await self.run(instance, _LIST)).splitlines()
        return {name: text for name, _, text in (line.partition("=") for line in lines)}

    async def run(self, instance: Instance, script: str, *arguments: str) -> str:
        """The output of a script in a running instance."""
        ran = await self.instances.run(instance.id, ("sh", "-c", script, "sh", *arguments), 60.0)
        assert ran.exit_code == 0, ran.output
        return ran.output

    async def restarted(self) -> None:
        self.open()


@contextmanager
def helper_beside_docker() -> Iterator[OwnPool]:
    """A helper that mounts its pool where dockerd is. This process may be in another mount namespace."""
    with own_pool(process=dockerd()) as pool:
        yield pool


@asynccontextmanager
async def pool_under_test(folder: Path) -> AsyncIterator[DockerDataUnderTest]:
    """Docker with a data pool, which a helper of the test's own keeps."""
    with helper_beside_docker() as pool:
        await pool.call("init", bytes=POOL_SIZE, reserve=False)
        async with in_pool(pool, folder) as storage:
            yield storage


@asynccontextmanager
async def in_pool(pool: OwnPool, folder: Path) -> AsyncIterator[DockerDataUnderTest]:
    """Docker, as an installation of its own, with this pool."""
    helper = DataHelper(HelperClient(pool.socket), "")
    async with docker_under_test(RandomIds().new()) as engine:
        yield DockerDataUnderTest(engine, folder / "snapshots", helper)


@asynccontextmanager
async def copies_under_test(folder: Path) -> AsyncIterator[DockerDataUnderTest]:
    """Docker without a pool."""
    async with docker_under_test() as engine:
        yield DockerDataUnderTest(engine, folder / "snapshots")


def storage_under_test(kind: str, folder: Path) -> AbstractAsyncContextManager[DockerDataUnderTest]:
    """Docker with a `pool`, or with `copies`."""
    return copies_under_test(folder) if kind == "copies" else pool_under_test(folder)
