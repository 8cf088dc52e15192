"""From settings to a running Stager."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial

import aiodocker
import aiohttp
import structlog

from stager.assembly.builds import builder_of, workshop_of
from stager.assembly.forges import accounts_of, github_of, local_forge_of, webhooks_of
from stager.assembly.helper import firewall_of, helper_of, public_ports
from stager.assembly.routing import addresses_of, front_options, outposts_of, reaches_by_loopback
from stager.assembly.web_server import WebServer
from stager.checks.deliveries import SetAsideDeliveries
from stager.control.control_plane import ControlPlane, Options, PluginSet, Ports
from stager.control.identity.access import Roles
from stager.control.identity.login_flows import LoginFlows
from stager.control.identity.sessions import Lifetimes
from stager.control.plugins.api import RunningPreviews
from stager.control.pull_requests.forges import Forges
from stager.control.reconciler.controller import Controller, Intervals
from stager.control.routing.edge_proxy import EdgeProxies
from stager.domain.application import Application
from stager.domain.errors import StagerError
from stager.domain.route import Endpoint
from stager.engines.docker import (
    DockerImages,
    DockerInstances,
    HelperFirewall,
    NetworkPool,
    check_pool,
    connect,
)
from stager.engines.probe import HttpProber
from stager.forges.github.app_setup.setup import GithubSetup
from stager.forges.github.webhooks.events import FORGE as GITHUB
from stager.forges.local.deliveries import FORGE as LOCAL
from stager.front.process.client import FrontClient
from stager.front.process.launcher import FrontLauncher
from stager.front.process.signing_key import load_key
from stager.handlers.comments import RemoveGithubPullRequestCommentsOnKill
from stager.installation_checks import checks_of
from stager.ports.clock import RandomIds, SystemClock
from stager.ports.handlers import (
    AuthenticationStrategy,
    ContainerRotationStrategy,
    EventListener,
    PostLaunchHandler,
    PreKillHandler,
    PreLaunchHandler,
)
from stager.settings.loading.loader import Loaded
from stager.settings.model import Settings
from stager.settings.plugins.instances import Chosen
from stager.state import StateDirectory
from stager.stores.secret_box import FileSecretBox
from stager.stores.sqlite.store import open_store
from stager.web.services import Services

log = structlog.get_logger(__name__)

EXTRA_WAIT = 60.0
"""Seconds that a launch is waited for beyond the application's own time to start."""

LAST_SWEEP = 5.0
"""Seconds that the end waits for Docker to remove networks that nothing uses."""


async def serve(loaded: Loaded, state: StateDirectory, stopped: asyncio.Event) -> None:
    """Run Stager until `stopped` is set. The previews, and the front, go on afterwards.

    Args:
        state: locked by the caller.

    Raises:
        Fault: it can't start; the sentence says why.
    """
    async with AsyncExitStack() as stack:
        services, front = await _assemble(loaded, state, stack)
        async with asyncio.TaskGroup() as tasks:
            web = WebServer(services, state)
            running = [
                tasks.create_task(front.keep(partial(_tell_of_front, services.controller))),
                tasks.create_task(services.controller.run()),
                tasks.create_task(web.listen()),
            ]
            log.info("serving", url=services.addresses.home, state=str(state.path))
            await stopped.wait()
            log.info("stopping")
            web.should_exit = True
            for task in running[:2]:
                task.cancel()


def _tell_of_front(controller: Controller, trouble: str) -> None:
    if trouble:
        log.error("front_not_started", error=trouble)
    controller.report("front", trouble)


async def tidy(settings: Settings, state: StateDirectory) -> None:
    """Remove the networks and images that a Stager left for its next start, where there will be none.

    Raises:
        Retry: the engine doesn't answer.
    """
    async with AsyncExitStack() as stack:
        docker = connect(settings.engine.socket)
        stack.push_async_callback(docker.close)
        pool = NetworkPool(docker, state.installation, settings.network.pool, settings.network.size)
        await DockerInstances(docker, state.installation, pool, loopback=False).sweep()
        await builder_of(settings, state, docker).sweep(())


async def _assemble(
    loaded: Loaded, state: StateDirectory, stack: AsyncExitStack
) -> tuple[Services, FrontLauncher]:
    settings = loaded.settings
    check_pool(settings.network.pool)
    helper = await helper_of(settings, state)
    edge_proxies = await outposts_of(settings, state)
    store = await open_store(state.database)
    stack.push_async_callback(store.close)
    launcher, router, listen = await _front(settings, state, stack)
    docker = connect(settings.engine.socket)
    stack.push_async_callback(docker.close)
    prober = HttpProber()
    stack.push_async_callback(prober.close)
    session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=True))

    addresses, clock = addresses_of(settings, store, listen), SystemClock()
    await addresses.load()
    firewall = firewall_of(helper, settings, state, lambda: public_ports(settings, listen, addresses))
    instances = await _instances(settings, state, docker, firewall)
    stack.push_async_callback(_leave_no_networks, instances)
    github, setup = github_of(settings, state, session)
    local = await local_forge_of(settings, listen, addresses)
    logins = LoginFlows(accounts_of(settings, session, setup), lambda: addresses.home, clock.now)
    ports = Ports(
        store=store,
        images=DockerImages(docker),
        instances=instances,
        prober=prober,
        router=router,
        clock=clock,
        ids=RandomIds(),
        seal=FileSecretBox(state.seal_key),
        webhooks={GITHUB: webhooks_of(settings, setup), **({LOCAL: local} if local else {})},
        forges=Forges([forge for forge in (github, local and local.parts) if forge]),
        build_ports=workshop_of(settings, state, docker),
        edge_proxies=edge_proxies,
        logins=logins,
        firewall=firewall,
    )
    previews = RunningPreviews(store, addresses)
    cast = _cast(Chosen(loaded, previews, logins))
    control_plane = ControlPlane(
        ports, addresses, settings.applications, cast, _options(settings, state, edge_proxies)
    )
    previews.guard(control_plane.access)
    stack.push_async_callback(control_plane.close)
    stack.push_async_callback(control_plane.audit.flush)
    await control_plane.routes.adopt()
    await control_plane.routes.frame(addresses.domain, Endpoint(path=str(state.control_socket)))
    await control_plane.visitor_access.renew()
    checks = checks_of(
        settings, state, is_up=True, domain=lambda: addresses.domain if addresses.known else ""
    )
    services = _services(control_plane, ports, loaded, router, setup)
    checked = (*checks, control_plane.failures, control_plane.handler_failures, SetAsideDeliveries(store))
    return replace(services, checks=checked, spool=str(state.path)), launcher


async def _front(
    settings: Settings, state: StateDirectory, stack: AsyncExitStack
) -> tuple[FrontLauncher, FrontClient, str]:
    """What keeps the front, what speaks with it, and where it listens."""
    launcher = FrontLauncher(state.front, front_options(settings))
    hello = await launcher.ensure()
    stack.callback(launcher.release)
    router = FrontClient(state.front)
    stack.push_async_callback(router.close)
    return launcher, router, hello.listen


async def _instances(
    settings: Settings, state: StateDirectory, docker: aiodocker.Docker, firewall: HelperFirewall | None
) -> DockerInstances:
    loopback = await reaches_by_loopback(settings, docker)
    networks = NetworkPool(docker, state.installation, settings.network.pool, settings.network.size)
    return DockerInstances(docker, state.installation, networks, firewall=firewall, loopback=loopback)


async def _leave_no_networks(instances: DockerInstances) -> None:
    """The next start may be far: networks that no container is in go now. Those of previews stay."""
    try:
        async with asyncio.timeout(LAST_SWEEP):
            await instances.sweep()
    except (StagerError, TimeoutError) as error:
        log.warning("networks_left", error=str(error) or f"Docker didn't remove them in {LAST_SWEEP:g} s.")


def _cast(chosen: Chosen) -> PluginSet:
    return PluginSet(
        listeners=chosen.those(EventListener),
        pre_launch=chosen.those(PreLaunchHandler),
        post_launch=chosen.those(PostLaunchHandler),
        pre_kill=chosen.those(PreKillHandler),
        authentication=chosen.those(AuthenticationStrategy),
        rotation=next(iter(chosen.those(ContainerRotationStrategy)), None),
    )


def _options(settings: Settings, state: StateDirectory, edge_proxies: EdgeProxies | None) -> Options:
    return Options(
        intervals=Intervals(
            timedelta(seconds=settings.pass_every),
            timedelta(seconds=settings.resync_every),
            timedelta(seconds=settings.keep_gone_for),
        ),
        max_previews=settings.max_previews or (len(tuple(settings.ports)) if edge_proxies else None),
        installation=state.installation,
        comments=settings.comments,
        removes_comments=RemoveGithubPullRequestCommentsOnKill.__name__ in settings.pre_kill_handlers,
        deployments=settings.github.deployments,
        statuses=settings.github.statuses,
        roles=Roles(settings.roles),
        key=load_key(state.front),
        lifetimes=Lifetimes(
            idle=timedelta(seconds=settings.sessions.idle),
            longest=timedelta(seconds=settings.sessions.longest),
            renew_every=timedelta(seconds=settings.sessions.renew_every),
            command_line=timedelta(seconds=settings.sessions.command_line),
        ),
    )


def _services(
    control_plane: ControlPlane, ports: Ports, loaded: Loaded, front: FrontClient, setup: GithubSetup
) -> Services:
    return Services(
        access=control_plane.access,
        audit=control_plane.audit,
        tokens=control_plane.tokens,
        sessions=control_plane.sessions,
        signing_in=control_plane.signing_in,
        addresses=control_plane.addresses,
        applications=control_plane.applications,
        visitor_access=control_plane.visitor_access,
        sharing=control_plane.share_links,
        builds=control_plane.builds,
        commands=control_plane.commands,
        failures=control_plane.failures,
        handler_failures=control_plane.handler_failures,
        forges=ports.forges,
        instances=ports.instances,
        webhook_consumer=control_plane.webhook_consumer,
        metrics=control_plane.metrics,
        routes=control_plane.routes,
        store=ports.store,
        controller=control_plane.controller,
        webhooks=ports.webhooks,
        trusted=loaded.settings.trusted_proxies,
        metrics_for=loaded.settings.metrics.allow,
        configuration=str(loaded.path) if loaded.path else "",
        warnings=loaded.warnings,
        repositories=loaded.settings.local_forge,
        front_figures=front.stats,
        calls=control_plane.calls,
        setup=setup,
        firewall=ports.firewall,
        start_timeout=max((_patience(a) for a in control_plane.applications), default=0.0) + EXTRA_WAIT,
    )


def _patience(application: Application) -> float:
    """Seconds from a wish to an answer at most, without the time in line."""
    made = application.build_timeout if application.build else 0.0
    return application.start_timeout + made
