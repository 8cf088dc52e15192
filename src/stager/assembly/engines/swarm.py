"""The engine `swarm`: previews run on all nodes of a Docker Swarm."""

from __future__ import annotations

from dataclasses import replace

import aiodocker

from stager.assembly.builds import build_ports_of
from stager.assembly.engines.parts import EngineContext, EngineParts, remove_unused_networks
from stager.control.ports import BuildPorts
from stager.engines.docker import DockerImages, connect
from stager.engines.machine import RemoteMachine
from stager.engines.swarm.data import SwarmData, SwarmWorkbench
from stager.engines.swarm.instances import SwarmInstances
from stager.engines.swarm.nodes.connections import NodeConnections
from stager.engines.swarm.nodes.swarm_nodes import SwarmNodes
from stager.engines.swarm.nodes.tunnel import SshAccess
from stager.engines.swarm.power import SwarmPower
from stager.engines.swarm.registry import RegistryBuilder, RegistryImages
from stager.helper_client import HelperClient


async def swarm_engine(context: EngineContext) -> EngineParts:
    """Connect to a manager of the swarm. Builds run there, too."""
    settings, state = context.settings, context.state
    docker = connect(settings.engine.socket)
    context.stack.push_async_callback(docker.close)
    connections = connections_of(context, docker)
    context.stack.push_async_callback(connections.close)
    published = RegistryImages(docker, settings.engine.registry, state.installation)
    instances = SwarmInstances(docker, state.installation, published, connections)
    context.stack.push_async_callback(remove_unused_networks, instances)
    return EngineParts(
        images=DockerImages(docker),
        instances=instances,
        power=SwarmPower(),
        machine=RemoteMachine(),  # the manager's own memory says nothing about the nodes'
        builds=_builds_of(context, docker, published, connections),
        firewall=None,
        data=SwarmData(),
        workbench=SwarmWorkbench(),
        pictures=None,
        nodes=SwarmNodes(docker, connections, state.installation, guards=settings.helper != "off"),
    )


def connections_of(context: EngineContext, docker: aiodocker.Docker) -> NodeConnections:
    """The connections to the nodes."""
    settings, state = context.settings, context.state
    ssh = state.path / "ssh"
    access = SshAccess(ssh / "id_ed25519", ssh / "known_hosts", settings.engine.ssh_user)
    return NodeConnections(docker, HelperClient(settings.helper_socket), state.path / "nodes", access)


def _builds_of(
    context: EngineContext, docker: aiodocker.Docker, published: RegistryImages, nodes: NodeConnections
) -> BuildPorts | None:
    ports = build_ports_of(context.settings, context.state, docker)
    return replace(ports, builder=RegistryBuilder(ports.builder, published, nodes)) if ports else None
