"""The memory of paused containers on real Docker, with swap of the test's own."""

from __future__ import annotations

import asyncio
import re
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from stager.domain.environment import Instance, InstanceState
from stager.engines.docker import DockerMemory, DockerPower
from stager.helper.memory.cgroups import Cgroups, find_cgroups
from stager.helper_client import HelperClient
from tests.contracts.engines import DOCKER, PYTHON, DockerUnderTest, docker_under_test, instance_labels
from tests.contracts.engines import spec_of as spec_of_instance
from tests.integration.namespaces import Helper, Namespace, helping, needs_namespaces
from tests.integration.stager import docker
from tests.integration.swap import NoSwapError, swap_file
from tests.unit.docs.written import page_sample

pytestmark = [
    pytest.mark.docker,
    needs_namespaces,
]

HELD = 24 << 20
"""Bytes of the memory of the application that can't be compressed and that no other place has."""
# It answers with the digest of what it holds.
SERVER = f"""\
import hashlib, os, socket
held = bytearray(os.urandom({HELD}))
digest = hashlib.sha256(held).hexdigest().encode()
server = socket.create_server(("", 8080))
while True:
    connection, _ = server.accept()
    request = connection.recv(100)
    connection.sendall(digest if request == b"at first" else hashlib.sha256(held).hexdigest().encode())
    connection.close()
"""


@pytest.fixture(scope="module", autouse=True)
def swap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    try:
        with swap_file(tmp_path_factory.mktemp("swap"), 256 << 20):
            yield
    except NoSwapError as error:
        pytest.skip(str(error))


@pytest.fixture
async def engine() -> AsyncIterator[DockerUnderTest]:
    async with docker_under_test() as engine:
        yield engine


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[Helper]:
    folder = tmp_path / "helper"
    folder.mkdir()
    namespace = Namespace()
    try:
        options = (f"--data-folder={folder}/data", "--data-namespace=0", "--log-group=0")
        with helping(folder, namespace.enter, *options) as helper:
            yield helper
    finally:
        namespace.close()


@pytest.fixture(params=["itself", "the helper"])
def power(engine: DockerUnderTest, helper: Helper, request: pytest.FixtureRequest) -> DockerPower:
    """Stager as root, and as another user."""
    if request.param == "itself":
        memory = DockerMemory(DOCKER, engine.installation, None)
    else:
        none = Cgroups(0, Path("/nowhere"))
        memory = DockerMemory(DOCKER, engine.installation, HelperClient(helper.socket), cgroups=none)
    return DockerPower(engine.docker, memory)


async def started(engine: DockerUnderTest) -> Instance:
    image = await engine.images.resolve(PYTHON)
    spec = spec_of_instance(instance_labels(), image, ("python3", "-c", SERVER))
    instance = await engine.instances.create(spec)
    instance = await engine.instances.start(instance.id)
    await said(instance, b"at first")
    return instance


async def said(instance: Instance, request: bytes) -> str:
    assert instance.endpoint
    async with asyncio.timeout(20):
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    instance.endpoint.address, instance.endpoint.port
                )
            except ConnectionError:
                await asyncio.sleep(0.05)
                continue
            writer.write(request)
            answer = await reader.read()
            writer.close()
            return answer.decode()


def group_of(instance: Instance) -> Path:
    process = int(docker("inspect", "--format", "{{.State.Pid}}", instance.id))
    group = find_cgroups().group_of(process, instance.id)
    assert group is not None
    return group


def memory_of(instance: Instance) -> int:
    names = {1: "memory.usage_in_bytes", 2: "memory.current"}
    return int((group_of(instance) / names[find_cgroups().version]).read_text())


def swap_limit_of(instance: Instance) -> str:
    names = {1: "memory.swappiness", 2: "memory.swap.max"}
    return (group_of(instance) / names[find_cgroups().version]).read_text().strip()


async def test_it_is_given_back_and_comes_back(engine: DockerUnderTest, power: DockerPower) -> None:
    instance = await started(engine)
    digest = await said(instance, b"at first")
    assert swap_limit_of(instance) == "0", "it has no swap while it runs"
    before = memory_of(instance)
    assert before > HELD
    await power.pause(instance.id)
    given = await power.reclaim(instance.id)
    left = memory_of(instance)
    assert given is not None
    assert given > HELD * 0.9
    assert left < before - HELD * 0.9
    assert swap_limit_of(instance) == "0", "it has no swap again"
    again = await power.reclaim(instance.id)
    assert again is not None
    assert again < 4 << 20
    await power.unpause(instance.id)
    assert await said(instance, b"all of it") == digest
    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    assert memory_of(instance) > HELD


async def test_not_of_one_that_runs(engine: DockerUnderTest, power: DockerPower) -> None:
    instance = await started(engine)
    before = memory_of(instance)
    assert await power.reclaim(instance.id) is None
    assert memory_of(instance) > before * 0.9
    await power.pause(instance.id)
    await engine.instances.remove(instance.id)
    assert await power.reclaim(instance.id) is None


@pytest.mark.attack(
    "Have the root helper reclaim the memory of another program's container, whose image has Stager's label",
    profile="Stager's user",
    result="refused; the container keeps its memory",
)
async def test_not_of_anothers(engine: DockerUnderTest, helper: Helper) -> None:
    image = await engine.images.resolve(PYTHON)
    label = f"--label=stager.installation={engine.installation}"
    name = f"test-{secrets.token_hex(4)}"
    run = ["run", "--detach", label, f"--name={name}", "--network=none", image, "python3", "-c", SERVER]
    container = docker(*run)
    docker("pause", container)
    answer = helper.ask("memory-reclaim", installation=engine.installation, container=container)
    assert (answer["kind"], answer["reason"]) == ("refused", "container-unknown")
    mine = await started(engine)
    await DockerPower(engine.docker, DockerMemory(DOCKER, "x", None)).pause(mine.id)
    answer = helper.ask("memory-reclaim", installation="test-another", container=mine.id)
    assert (answer["kind"], answer["reason"]) == ("refused", "container-unknown")
    assert memory_of(mine) > HELD
    [found] = await engine.instances.find("e1")
    assert found.state is InstanceState.PAUSED


def test_the_pages_swap_file(tmp_path: Path) -> None:
    """As written, but for place and size."""
    file, table = tmp_path / "swapfile", tmp_path / "fstab"
    make = page_sample("memory-of-sleeping-previews.md", "sudo fallocate")
    keep = page_sample("memory-of-sleeping-previews.md", "echo '/swapfile")
    written = f"{make}\n{keep}".replace("/swapfile", str(file)).replace("/etc/fstab", str(table))
    try:
        subprocess.run(["bash", "-ec", written.replace("sudo ", "").replace("4G", "64M")], check=True)
        assert str(file) in Path("/proc/swaps").read_text()
        assert table.read_text() == f"{file} none swap sw 0 0\n"
    finally:
        subprocess.run(["swapoff", str(file)], check=False)
