"""The drivers behind the control plane's ports, as the settings define them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiodocker
import aiohttp
import structlog

from stager.assembly.builds import build_ports_of
from stager.assembly.certificates import certificates_of
from stager.assembly.forges import accounts_of, github_of, local_forge_of, webhooks_of
from stager.assembly.front import front_options
from stager.assembly.helper import data_helper_of, firewall_of, helper_of, memory_of, public_ports
from stager.assembly.machine import machine_of
from stager.assembly.pictures import pictures_of
from stager.assembly.routing import edge_proxy_of, reaches_by_loopback, urls_of
from stager.control.forges import Forges
from stager.control.ports import Ports
from stager.control.routing.urls import Urls
from stager.domain.errors import StagerError
from stager.engines.docker import (
    DockerData,
    DockerImages,
    DockerInstances,
    DockerPower,
    DockerWorkbench,
    HelperFirewall,
    NetworkPool,
    check_pool,
    connect,
)
from stager.engines.probe import HttpProber
from stager.forges.github.app_setup.setup import GithubSetup
from stager.forges.github.sign_in import GithubSignIn
from stager.forges.github.webhooks.payloads import FORGE as GITHUB
from stager.forges.local.deliveries import FORGE as LOCAL
from stager.front.process.client import FrontClient
from stager.front.process.external_front import ExternalFront
from stager.front.process.launcher import FrontLauncher
from stager.ports.clock import RandomIds, SystemClock
from stager.server_commands.runner import LocalCommands
from stager.settings.model import Settings
from stager.state import StateDirectory
from stager.stores.secret_box import FileSecretBox
from stager.stores.sqlite.store import SqliteStore, open_store

log = structlog.get_logger(__name__)

SWEEP_TIMEOUT = 5.0
"""Seconds that the shutdown waits for Docker to remove unused networks."""


@dataclass(frozen=True, slots=True)
class Drivers:
    """The ports, and the drivers that `assembly` needs besides.

    Args:
        front_keeper: keeps the front running, or waits for one that another process keeps.
        setup: creates a GitHub App from Stager's own pages.
        accounts: sign-in with GitHub.
    """

    ports: Ports
    urls: Urls
    front_keeper: FrontLauncher | ExternalFront
    front: FrontClient
    setup: GithubSetup
    accounts: GithubSignIn


async def drivers_of(
    settings: Settings, state: StateDirectory, stack: AsyncExitStack, *, external_front: bool
) -> Drivers:
    """Start the drivers.

    Args:
        stack: closes them.
        external_front: whether `stager front` runs the front.

    Raises:
        Fault, Refused: one of them can't be used as configured.
    """
    check_pool(settings.network.pool)
    helper = await helper_of(settings, state)
    edge_proxy = await edge_proxy_of(settings, state)
    store = await _store(state, stack)
    options = front_options(settings, state)
    keeper = ExternalFront(state.front, options) if external_front else FrontLauncher(state.front, options)
    front, listen = await _front(keeper, state, stack)
    docker = connect(settings.engine.socket)
    stack.push_async_callback(docker.close)
    prober = HttpProber()
    stack.push_async_callback(prober.close)
    session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=True))

    urls = urls_of(settings, store, listen)
    await urls.load()
    firewall = firewall_of(helper, settings, state, lambda: public_ports(settings, listen, urls))
    data = DockerData(docker, state.installation, state.snapshots, data_helper_of(helper))
    instances, local = await asyncio.gather(
        _instances(settings, state, docker, firewall, data), local_forge_of(settings, listen, urls)
    )
    stack.push_async_callback(_remove_unused_networks, instances)
    forges = Forges([local.parts] if local else [])
    setup = github_of(settings, state, session, forges)
    ports = Ports(
        store=store,
        images=DockerImages(docker),
        instances=instances,
        power=DockerPower(docker, memory_of(helper, settings, state)),
        prober=prober,
        router=front,
        clock=SystemClock(),
        ids=RandomIds(),
        secret_box=FileSecretBox(state.seal_key),
        server_commands=LocalCommands(),
        machine=machine_of(settings, state, docker),
        webhooks={GITHUB: webhooks_of(settings, setup), **({LOCAL: local} if local else {})},
        forges=forges,
        builds=build_ports_of(settings, state, docker),
        edge_proxy=edge_proxy,
        firewall=firewall,
        data=data,
        workbench=DockerWorkbench(docker, state.installation, data.volumes, data.benches),
        certificates=certificates_of(settings, state),
        pictures=pictures_of(settings, state, docker),
    )
    return Drivers(ports, urls, keeper, front, setup, accounts_of(settings, session, setup))


async def _store(state: StateDirectory, stack: AsyncExitStack) -> SqliteStore:
    store = await open_store(state.database)
    stack.push_async_callback(store.close)
    return store


async def _front(
    keeper: FrontLauncher | ExternalFront, state: StateDirectory, stack: AsyncExitStack
) -> tuple[FrontClient, str]:
    """The front's client, and the address where the front listens."""
    hello = await keeper.ensure()
    stack.callback(keeper.release)
    router = FrontClient(state.front)
    stack.push_async_callback(router.close)
    return router, hello.listen


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


async def _remove_unused_networks(instances: DockerInstances) -> None:
    """Remove networks that no container uses. The next start may be much later."""
    try:
        async with asyncio.timeout(SWEEP_TIMEOUT):
            await instances.sweep()
    except (StagerError, TimeoutError) as error:
        log.warning(
            "networks_left", error=str(error) or f"Docker didn't remove them within {SWEEP_TIMEOUT:g} s."
        )
