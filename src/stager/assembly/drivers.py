"""The drivers behind the control plane's ports, as the settings define them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp

from stager.assembly.certificates import certificates_of
from stager.assembly.engines.docker import docker_engine
from stager.assembly.engines.parts import EngineContext, EngineParts
from stager.assembly.forges import accounts_of, github_of, local_forge_of, webhooks_of
from stager.assembly.front import front_options
from stager.assembly.helper import helper_of, public_ports
from stager.assembly.routing import edge_proxy_of, urls_of
from stager.control.forges import Forges
from stager.control.ports import Ports
from stager.control.routing.urls import Urls
from stager.engines.docker import check_pool
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
    if not settings.is_swarm:
        check_pool(settings.network.pool)
    helper = await helper_of(settings, state)
    edge_proxy = await edge_proxy_of(settings, state)
    store = await _store(state, stack)
    options = front_options(settings, state)
    keeper = ExternalFront(state.front, options) if external_front else FrontLauncher(state.front, options)
    front, listen = await _front(keeper, state, stack)
    prober = HttpProber()
    stack.push_async_callback(prober.close)
    session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=True))

    urls = urls_of(settings, store, listen)
    await urls.load()
    context = EngineContext(settings, state, helper, stack, lambda: public_ports(settings, listen, urls))
    engine, local = await asyncio.gather(_engine(context), local_forge_of(settings, listen, urls))
    forges = Forges([local.parts] if local else [])
    setup = github_of(settings, state, session, forges)
    ports = Ports(
        store=store,
        images=engine.images,
        instances=engine.instances,
        power=engine.power,
        prober=prober,
        router=front,
        clock=SystemClock(),
        ids=RandomIds(),
        secret_box=FileSecretBox(state.seal_key),
        server_commands=LocalCommands(),
        machine=engine.machine,
        webhooks={GITHUB: webhooks_of(settings, setup), **({LOCAL: local} if local else {})},
        forges=forges,
        builds=engine.builds,
        edge_proxy=edge_proxy,
        firewall=engine.firewall,
        data=engine.data,
        workbench=engine.workbench,
        certificates=certificates_of(settings, state),
        pictures=engine.pictures,
    )
    return Drivers(ports, urls, keeper, front, setup, accounts_of(settings, session, setup))


async def _engine(context: EngineContext) -> EngineParts:
    match context.settings.engine.kind:
        case "docker":
            return await docker_engine(context)
        case "swarm":
            from stager.assembly.engines.swarm import swarm_engine  # noqa: PLC0415 (only if configured)

            return await swarm_engine(context)


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
