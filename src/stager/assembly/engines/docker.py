"""The engine `docker`: previews run on one machine."""

from __future__ import annotations

import aiodocker

from stager.assembly.builds import build_ports_of
from stager.assembly.engines.parts import EngineContext, EngineParts, remove_unused_networks
from stager.assembly.helper import data_helper_of, firewall_of, memory_of
from stager.assembly.machine import machine_of
from stager.assembly.pictures import pictures_of
from stager.assembly.routing import reaches_by_loopback
from stager.engines.docker import (
    DockerData,
    DockerImages,
    DockerInstances,
    DockerPower,
    DockerWorkbench,
    HelperFirewall,
    NetworkPool,
    connect,
)
from stager.settings.model import Settings
from stager.state import StateDirectory


async def docker_engine(context: EngineContext) -> EngineParts:
    """Connect to Docker. Raises Fault or Refused if it can't be used as configured."""
    settings, state, helper = context.settings, context.state, context.helper
    docker = connect(settings.engine.socket)
    context.stack.push_async_callback(docker.close)
    firewall = firewall_of(helper, settings, state, context.public_ports)
    data = DockerData(docker, state.installation, state.snapshots, data_helper_of(helper))
    instances = await _instances(settings, state, docker, firewall, data)
    context.stack.push_async_callback(remove_unused_networks, instances)
    return EngineParts(
        images=DockerImages(docker),
        instances=instances,
        power=DockerPower(docker, memory_of(helper, settings, state)),
        machine=machine_of(settings, state, docker),
        builds=build_ports_of(settings, state, docker),
        firewall=firewall,
        data=data,
        workbench=DockerWorkbench(docker, state.installation, data.volumes, data.benches),
        pictures=pictures_of(settings, state, docker),
    )


async def _instances(
    settings: Settings,
    state: StateDirectory,
    docker: aiodocker.Docker,
    firewall: HelperFirewall | None,
    data: DockerData,
) -> DockerInstances:
    loopback = await reaches_by_loopback(settings, docker)
    networks = NetworkPool(docker, state.installation, settings.network.pool, settings.network.prefix_length)
    return DockerInstances(
        docker,
        state.installation,
        networks,
        volumes=data.volumes,
        firewall=firewall,
        loopback=loopback,
    )
