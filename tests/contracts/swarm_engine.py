"""Docker Swarm under the contract tests of engines."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiodocker

from stager.domain.environment import InstanceLabels
from stager.domain.errors import Fault
from stager.engines.docker import DockerImages, DockerMemory, DockerPower, connect
from stager.engines.docker import labels as docker_labels
from stager.engines.docker.client import request_json
from stager.engines.probe import HttpProber
from stager.engines.swarm.instances import SwarmInstances
from stager.engines.swarm.marks import ready_label
from stager.ports.clock import RandomIds
from stager.ports.engine import Images, Instances, InstanceSpec, Power, Prober
from tests.contracts.engines import DOCKER, IMAGE, PYTHON, docker_service, docker_spec, inner_command, reached
from tests.swarm.cluster import Cluster
from tests.swarm.node import Node

EXCEPTIONS = {
    "test_engine_power": "Swarm has no pause: a preview sleeps by being stopped",
    "test_an_environment_without_instances_keeps_its_own": "a volume comes into being with the first start, "
    "on the node that Swarm chooses then; see tests/swarm/test_instances.py",
}
"""Contract tests that don't apply to Swarm, by their names or those of their classes, and why."""


EVERY_RUN = (
    "TestCreate::test_makes_one_that_doesnt_run",
    "TestCreate::test_refuses_an_image_that_is_gone",
    "TestStart::test_again_has_no_effect",
    "TestStart::test_of_one_that_cant_be",
    "TestEnd::test_by_its_memory_limit",
    "TestEnd::test_started_again_it_is_another_run_at_the_same_place",
    "TestRemove::test_at_the_same_time_is_success",
    "TestSweep::test_what_isnt_used_any_more",
    "TestSweep::test_removes_the_network_of_a_generation_that_only_kept_ones_are_in",
    "TestEvents",
    "TestHealth::test_that_finds_it_well",
    "TestListeners::test_of_one_that_runs[swarm-serves",
    "TestRun::test_how_it_went",
    "TestFollow::test_until_it_ends",
    "TestTerminal::test_it_receives_input_and_its_size",
    "TestKept",
    "TestVolumes::test_a_fresh_one_ends_with_its_generation",
    "test_the_memory_of_what_runs_is_measured",
)
"""The tests that run against Swarm each time. `scripts/soak` runs all, which takes several minutes."""


def applies(name: str) -> bool:
    """Whether a test runs against Swarm.

    Args:
        name: its node id.
    """
    if any(each in name for each in EXCEPTIONS):
        return False
    return bool(os.environ.get("STAGER_SOAK")) or any(each in name for each in EVERY_RUN)


class LoadedImages:
    """Images that are on every node already, by their ids."""

    auth = "e30="

    def __init__(self, docker: aiodocker.Docker) -> None:
        self._docker = docker

    async def publish(self, image: str) -> str:
        try:
            await self._docker.images.inspect(image)
        except aiodocker.DockerError as error:
            raise Fault(f"There is no image {image}.", reason="image-missing") from error
        return image


class ClusterEngines:
    """The engines of a cluster's nodes, by their sockets."""

    def __init__(self, cluster: Cluster) -> None:
        self._clients = {cluster.node_id(node): connect(node.docker_url) for node in cluster.nodes}

    async def docker(self, node_id: str) -> aiodocker.Docker:
        return self._clients[node_id]

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


class SwarmUnderTest:
    """A swarm of three nodes, as an installation of its own."""

    reference = IMAGE

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.installation = f"test-{RandomIds().new()}"
        self.docker = connect(cluster.manager.docker_url)
        self.nodes = ClusterEngines(cluster)
        self.http = HttpProber()
        self.images: Images = DockerImages(self.docker)
        self.instances: Instances = SwarmInstances(
            self.docker, self.installation, LoadedImages(self.docker), self.nodes
        )
        self.power: Power = DockerPower(self.docker, DockerMemory(DOCKER, self.installation, None))
        self.prober: Prober = self.http

    async def spec(self, does: str, labels: InstanceLabels) -> InstanceSpec:
        return docker_spec(does, labels, await self.images.resolve(self.reference))

    def inner(self, does: str) -> Sequence[str]:
        return inner_command(does)

    async def service(self, labels: InstanceLabels, who: str, **more: Any) -> InstanceSpec:
        return docker_service(labels, await self.images.resolve(PYTHON), who, more)

    async def reached(self, instance: str, name: str) -> set[str]:
        return await reached(self.instances, instance, name)

    async def kill(self, instance: str) -> None:
        for node in self.cluster.nodes:
            containers = node.docker(
                "ps", "--quiet", "--filter", f"label=com.docker.swarm.service.id={instance}"
            )
            if containers:
                node.docker("kill", *containers.split())

    async def variables(self, instance: str) -> dict[str, str]:
        service = json.loads(self.cluster.docker("service", "inspect", instance))[0]
        container = service["Spec"]["TaskTemplate"]["ContainerSpec"]
        [image] = json.loads(self.cluster.docker("image", "inspect", container["Image"]))
        pairs = [*(image["Config"].get("Env") or ()), *container.get("Env", ())]
        return dict(pair.split("=", 1) for pair in pairs)

    async def admit(self, *nodes: Node, ready: str = "yes") -> None:
        """Let these nodes take previews."""
        for row in await self.docker.nodes.list():
            if row["Description"]["Hostname"] in {node.name for node in nodes}:
                row["Spec"].setdefault("Labels", {})[ready_label(self.installation)] = ready
                await self.docker.nodes.update(
                    node_id=row["ID"], version=row["Version"]["Index"], spec=row["Spec"]
                )

    async def remove_services(self) -> None:
        """Remove all services of this installation. The cluster removes the rest."""
        ours = docker_labels.filters(self.installation)
        for row in await request_json(self.docker, "services", params={"filters": ours}):
            await self.docker.services.delete(row["ID"])

    async def close(self) -> None:
        await self.http.close()
        await self.nodes.close()
        await self.docker.close()


@asynccontextmanager
async def swarm_under_test(cluster: Cluster) -> AsyncIterator[SwarmUnderTest]:
    """Docker Swarm, with all nodes ready."""
    _load(cluster, PYTHON)
    engine = SwarmUnderTest(cluster)
    await engine.admit(*cluster.nodes)
    try:
        yield engine
    finally:
        await engine.remove_services()
        await engine.close()


def _load(cluster: Cluster, image: str) -> None:
    missing = [node for node in cluster.nodes if not node.docker("image", "ls", "--quiet", image)]
    if missing:
        cluster.load(image, *missing)
