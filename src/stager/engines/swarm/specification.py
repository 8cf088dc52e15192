"""Makes the specifications of Swarm services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiodocker

from stager.domain.errors import Fault
from stager.domain.profile import ProfileName
from stager.domain.service import Mount
from stager.domain.source import Trust
from stager.engines.docker import labels
from stager.engines.docker.bodies import CreateBodies
from stager.engines.docker.data.names import volume_name
from stager.engines.docker.network.pool import Lease
from stager.engines.swarm import marks
from stager.engines.swarm.translation import task_template
from stager.ports.data import VolumeKey
from stager.ports.engine import InstanceSpec

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A network of a service, from its creation on.

    Args:
        name: the network's name.
        id: Swarm's id of the network.
        aliases: the names of the service there.
    """

    name: str
    id: str
    aliases: tuple[str, ...] = ()

    @property
    def row(self) -> Row:
        """As Swarm's create call has it."""
        return {"Target": self.id, "Aliases": list(self.aliases)}


class Specifications:
    """Makes them for one installation.

    Args:
        docker: the manager's engine, which has the images.
        installation: the id of the installation.
    """

    def __init__(self, docker: aiodocker.Docker, installation: str) -> None:
        self._bodies = CreateBodies(docker, installation)
        self._installation = installation

    async def of(self, spec: InstanceSpec, image: str, network: Attachment, port: int) -> Row:
        """The specification of an instance that isn't started.

        Args:
            image: the reference by which the nodes pull it.
            port: the node's port that leads to the instance; 0 for none.

        Raises:
            Fault: `swarm-parameter`.
            Retry: the engine doesn't answer.
            DockerError: Docker refuses.
        """
        body = await self._bodies.of(spec, Lease(network.name, ""), self._mounts(spec))
        template = task_template(body)
        container_labels = template["ContainerSpec"]["Labels"]
        template["ContainerSpec"]["Image"] = image
        template["Networks"] = [network.row]
        template["RestartPolicy"] = {"Condition": "none"}
        wanted = spec.labels
        return {
            "Name": marks.service_name(self._installation, wanted.deployment, wanted.service),
            "Labels": {**container_labels, marks.GENERATIONS: marks.generations_text(_generations(spec))},
            "TaskTemplate": template,
            "Mode": {"Replicated": {"Replicas": 0}},
            "EndpointSpec": {"Mode": "dnsrr", "Ports": _ports(spec, port)},
        }

    def _mounts(self, spec: InstanceSpec) -> list[Row]:
        """The volumes of a service. Those with a name are created, with their labels, on the node on which
        it is started first."""
        return [self._mount(spec, mount) for mount in spec.container.mounts]

    def _mount(self, spec: InstanceSpec, mount: Mount) -> Row:
        created: Row = {"Type": "volume", "Target": mount.target, "ReadOnly": mount.is_read_only}
        if mount.volume:
            number = spec.number_of(mount.volume)
            key = VolumeKey(spec.labels.environment, mount.volume, number)
            created["Source"] = volume_name(self._installation, key)
            created["VolumeOptions"] = {"Labels": self._volume_labels(spec, mount.volume, number)}
        return created

    def _volume_labels(self, spec: InstanceSpec, volume: str, number: int) -> dict[str, str]:
        own = {
            labels.INSTALLATION: self._installation,
            labels.ENVIRONMENT: spec.labels.environment,
            labels.GENERATION: str(number),
            labels.VOLUME: volume,
        }
        if spec.volume_epoch and volume not in spec.fresh_volumes:
            own[labels.VOLUME_EPOCH] = str(spec.volume_epoch)
        return own


def _generations(spec: InstanceSpec) -> Sequence[int]:
    if not spec.aliases:
        return ()
    return (spec.network or spec.labels.generation,)


def _ports(spec: InstanceSpec, port: int) -> list[Row]:
    """The published ports. Only `host` works without IPVS, and leads to the instance without another hop."""
    if not spec.container.port:
        return []
    published = {"PublishedPort": port, "TargetPort": spec.container.port}
    return [{"Protocol": "tcp", "PublishMode": "host", **published}]


def place(specification: Row, installation: str, node: str) -> None:
    """Set where a service may run.

    Args:
        node: the id of the only node; empty for any that takes instances.
    """
    constraints = [f"node.labels.{marks.ready_label(installation)}==yes"]
    if node:
        constraints.append(f"node.id=={node}")
    specification["TaskTemplate"]["Placement"] = {"Constraints": constraints}


def attach(specification: Row, networks: Sequence[Attachment]) -> None:
    """Set the networks of a service besides its first one."""
    template = specification["TaskTemplate"]
    template["Networks"] = [template["Networks"][0], *(each.row for each in networks)]


def begin(specification: Row, *, again: bool) -> None:
    """Let Swarm make a task.

    Args:
        again: whether there was one.
    """
    specification["Mode"]["Replicated"]["Replicas"] = 1
    if again:
        template = specification["TaskTemplate"]
        template["ForceUpdate"] = int(template.get("ForceUpdate") or 0) + 1


def declared_volumes(service: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """The labels of the named volumes of a service."""
    mounts = service["Spec"]["TaskTemplate"]["ContainerSpec"].get("Mounts") or ()
    found = [(mount.get("VolumeOptions") or {}).get("Labels") or {} for mount in mounts]
    return [each for each in found if labels.VOLUME in each]


def volume_names(service: Mapping[str, Any]) -> set[str]:
    """The names of the named volumes of a service in Docker."""
    mounts = service["Spec"]["TaskTemplate"]["ContainerSpec"].get("Mounts") or ()
    return {mount["Source"] for mount in mounts if mount.get("Type") == "volume" and mount.get("Source")}


def check_supported(spec: InstanceSpec) -> None:
    """Check what this engine can't do.

    Raises:
        Fault: `untrusted-on-swarm`, `clone-on-swarm`, `content-on-swarm`.
    """
    if spec.labels.trust is not Trust.TRUSTED or spec.profile.name is not ProfileName.STANDARD:
        raise Fault(
            "Code from forks doesn't run on Docker Swarm, because Swarm can't confine it.",
            hint="Use an installation with the engine `docker` for previews of forks.",
            reason="untrusted-on-swarm",
        )
    if spec.clones:
        raise Fault(
            f"The volumes of the service {spec.labels.service} can't be cloned from a snapshot: the engine "
            "`swarm` has no snapshots.",
            hint="Remove `data` from the application, or use the engine `docker`.",
            reason="clone-on-swarm",
        )
    if spec.content:
        raise Fault(
            f"The service {spec.labels.service} mounts {spec.content[0].target[:200]} from the repository, "
            "which the engine `swarm` can't do.",
            hint="Copy the files in the service's Dockerfile instead.",
            reason="content-on-swarm",
        )
