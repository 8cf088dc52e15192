"""Images in a real registry, pushed by the manager's engine and pulled by the nodes."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiodocker
import pytest

from stager.domain.errors import Fault, Retry
from stager.engines.docker.client import connect
from stager.engines.swarm.diagnostics import RegistryCheck, SwarmCheck
from stager.engines.swarm.registry import RegistryImages
from stager.engines.swarm.registry.api import is_insecure, registry_api
from stager.engines.swarm.registry.credentials import credentials_of
from stager.ports.diagnostics import Verdict
from tests.swarm.cluster import Cluster
from tests.swarm.node import Node

INSTALLATION = "test-registry"
NAME = f"stager-{INSTALLATION}"
STATIC = "stager-base/static:1"


class Engines:
    """See `engines.swarm.connections.NodeEngines`, by the sockets of the test's machines."""

    def __init__(self, cluster: Cluster) -> None:
        self._urls = {cluster.node_id(node): node.docker_url for node in cluster.nodes}
        self._clients: list[aiodocker.Docker] = []

    async def docker(self, node_id: str) -> aiodocker.Docker:
        client = connect(self._urls[node_id])
        self._clients.append(client)
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


@pytest.fixture
async def manager(cluster: Cluster) -> AsyncIterator[aiodocker.Docker]:
    client = connect(cluster.manager.docker_url)
    yield client
    await client.close()


@pytest.fixture
async def engines(cluster: Cluster) -> AsyncIterator[Engines]:
    engines = Engines(cluster)
    yield engines
    await engines.close()


@pytest.fixture
def images(cluster: Cluster, manager: aiodocker.Docker, tmp_path: Path) -> RegistryImages:
    return RegistryImages(manager, cluster.registry, INSTALLATION, tmp_path / "config.json")


def make_image(node: Node, name: str, content: str) -> str:
    """A new image on this machine; its id."""
    container = node.docker("create", STATIC, "true", content)
    image = node.docker("commit", container, name)
    node.docker("rm", container)
    return image


def published_digests(node: Node) -> set[str]:
    found = node.docker("images", "--digests", "--format", "{{.Repository}}@{{.Digest}}").split()
    return {each for each in found if f"/{NAME}@sha256" in each}


async def until_open(host: str, port: int | str) -> None:
    async with asyncio.timeout(20):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
                return
            await asyncio.sleep(0.1)


async def tags_of(cluster: Cluster, manager: aiodocker.Docker) -> list[str]:
    credentials = credentials_of(cluster.registry, Path("/nonexistent"))
    async with registry_api(manager, credentials, NAME) as api:
        return await api.tags()


async def test_an_image_is_pushed_once_and_each_node_can_pull_it(
    cluster: Cluster, images: RegistryImages
) -> None:
    image = make_image(cluster.manager, "built:1", "pulled")

    first, second = await asyncio.gather(images.publish(image), images.publish(image))

    assert first == second == await images.publish(image)
    repository, _, digest = first.partition("@")
    assert repository == f"{cluster.registry}/{NAME}"
    assert digest.startswith("sha256:")
    for node in cluster.workers:
        node.docker("pull", "--quiet", first)
        assert node.docker("image", "inspect", "--format", "{{.Id}}", first) == image
    # Otherwise, the builder wouldn't take it for one of its own.
    tags = cluster.docker("image", "inspect", "--format", "{{json .RepoTags}}", image)
    assert json.loads(tags) == ["built:1"]


async def test_an_image_that_the_registry_lost_is_pushed_again(
    cluster: Cluster, manager: aiodocker.Docker, images: RegistryImages
) -> None:
    image = make_image(cluster.manager, "built:2", "lost")
    reference = await images.publish(image)
    credentials = credentials_of(cluster.registry, Path("/nonexistent"))
    async with registry_api(manager, credentials, NAME) as api:
        assert await api.delete(reference.partition("@")[2])

    assert await images.publish(image) == reference
    cluster.workers[0].docker("pull", "--quiet", reference)


async def test_a_registry_that_is_away(cluster: Cluster, images: RegistryImages) -> None:
    image = make_image(cluster.manager, "built:3", "away")
    cluster.stop_registry()

    with pytest.raises(Retry) as caught:
        await images.publish(image)

    assert caught.value.reason == "registry-away"
    assert cluster.registry in caught.value.message
    cluster.start_registry()
    await until_open(*cluster.registry.split(":"))
    assert await images.publish(image)


async def test_an_image_that_isnt_there(cluster: Cluster, images: RegistryImages) -> None:
    with pytest.raises(Fault) as caught:
        await images.publish(f"sha256:{'0' * 64}")
    assert caught.value.reason == "image-missing"


async def test_a_registry_without_tls_that_docker_doesnt_trust(
    cluster: Cluster, manager: aiodocker.Docker, tmp_path: Path
) -> None:
    port = int(cluster.registry.rpartition(":")[2]) + 1
    address = f"{cluster.gateway}:{port}"
    settings = tmp_path / "registry.yml"
    settings.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\nhttp: {{addr: '{address}'}}\n"
    )
    registry = subprocess.Popen(["docker-registry", "serve", str(settings)], stderr=subprocess.DEVNULL)
    try:
        images = RegistryImages(manager, address, INSTALLATION, tmp_path / "config.json")
        image = make_image(cluster.manager, "built:4", "plain")
        await until_open(cluster.gateway, port)
        with pytest.raises(Fault) as caught:
            await images.publish(image)
        assert caught.value.reason == "registry-refused"
        assert "insecure-registries" in caught.value.hint
    finally:
        registry.kill()
        registry.wait()


async def test_what_no_preview_needs_is_removed_in_the_registry_and_on_the_nodes(
    cluster: Cluster, manager: aiodocker.Docker, images: RegistryImages, engines: Engines
) -> None:
    """What a service uses stays, as does what was published a moment ago."""
    await images.sweep([], engines)  # of earlier tests
    ids = [make_image(cluster.manager, f"built:{name}", name) for name in ("kept", "used", "old")]
    kept, used, old = [await images.publish(image) for image in ids]
    for node in cluster.nodes:
        for reference in (kept, used, old):
            node.docker("pull", "--quiet", reference)
    label = f"--label=stager.installation={INSTALLATION}"
    cluster.docker("service", "create", "--detach", "--replicas=0", "--no-resolve-image", label, used, "true")

    removed = [await images.sweep([ids[0]], engines) for _ in range(3)]

    assert removed == [0, 0, 4]  # a manifest, and an image on each node
    assert set(await tags_of(cluster, manager)) == {image.removeprefix("sha256:") for image in ids[:2]}
    for node in cluster.nodes:
        assert published_digests(node) == {kept, used}


async def test_credentials_of_docker_login(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    auth = base64.b64encode(b"ann:pass:word").decode()
    config.write_text(json.dumps({"auths": {"10.0.0.1:5000": {"auth": auth}, "other:1": {}}}))

    found = credentials_of("10.0.0.1:5000", config)

    assert (found.user, found.password) == ("ann", "pass:word")
    assert json.loads(base64.urlsafe_b64decode(found.header)) == {
        "username": "ann", "password": "pass:word", "serveraddress": "10.0.0.1:5000"
    }  # fmt: skip
    assert found.authorization == {"Authorization": f"Basic {auth}"}
    for none in (credentials_of("other:1", config), credentials_of("a:1", tmp_path / "missing")):
        assert not none.user
        assert json.loads(base64.urlsafe_b64decode(none.header)) == {}
        assert none.authorization == {}


@pytest.mark.parametrize(
    ("server", "is_it"),
    [
        ("127.0.0.1:5000", True),
        ("localhost:5000", True),
        ("[::1]:5000", False),
        ("10.1.0.1:5000", True),
        ("10.2.0.1:5000", False),
        ("registry.example.org:5000", True),
        ("registry.example.org:443", False),
        ("other.example.org:5000", False),
    ],
)
def test_whether_a_registry_needs_no_certificate(server: str, is_it: bool) -> None:
    known = {
        "IndexConfigs": {"registry.example.org:5000": {"Secure": False}, "docker.io": {"Secure": True}},
        "InsecureRegistryCIDRs": ["127.0.0.0/8", "10.1.0.0/16"],
    }
    assert is_insecure(known, server) is is_it


async def test_the_doctor_checks_swarm_and_registry(cluster: Cluster, tmp_path: Path) -> None:
    address, ready = cluster.manager.docker_url, f"stager.ready.{INSTALLATION}"
    check = SwarmCheck(address, ready)
    findings = await check.run()
    assert [f.verdict for f in findings if "firewall isn't verified" in f.message] == [Verdict.WARNING] * 3
    assert Verdict.ERROR in {finding.verdict for finding in findings}

    cluster.docker("node", "update", "--label-add", f"{ready}=yes", cluster.node_id(cluster.workers[0]))
    findings = await check.run()
    assert any(f.message == "1 of 3 nodes take previews." for f in findings)
    assert not any(f.verdict is Verdict.ERROR for f in findings)

    [worker] = await SwarmCheck(cluster.workers[0].docker_url, ready).run()
    assert (worker.verdict, worker.hint) == (Verdict.ERROR, "Run Stager on a manager.")

    registry = RegistryCheck(address, cluster.registry, INSTALLATION, tmp_path / "config.json")
    [found] = await registry.run()
    assert found.verdict is Verdict.OK, found
    cluster.stop_registry()
    [found] = await registry.run()
    assert found.verdict is Verdict.ERROR
