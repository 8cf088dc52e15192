"""From settings to a running Stager."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

import aiodocker
import aiohttp
import structlog

from stager.assembly.builds import build_ports_of, builder_of
from stager.assembly.forges import accounts_of, github_of, local_forge_of, webhooks_of
from stager.assembly.helper import firewall_of, helper_of, public_ports
from stager.assembly.routing import edge_proxy_of, front_options, reaches_by_loopback, urls_of
from stager.assembly.web_server import WebServer
from stager.checks.deliveries import DeliveryCheck
from stager.control.control_plane import ControlPlane, Intervals, Options
from stager.control.environments.plugin_api import RunningPreviews
from stager.control.forges import Forges
from stager.control.identity.authorizer import Roles
from stager.control.identity.login_flows import LoginFlows
from stager.control.identity.package import IdentityOptions
from stager.control.identity.sessions import Lifetimes
from stager.control.loops import Troubles
from stager.control.plugins.package import PluginSet
from stager.control.ports import Ports
from stager.control.reporting.package import ReportOptions
from stager.domain.application import Application, Applications
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
from stager.forges.github.webhooks.payloads import FORGE as GITHUB
from stager.forges.local.deliveries import FORGE as LOCAL
from stager.front.process.client import FrontClient
from stager.front.process.launcher import FrontLauncher
from stager.front.process.signing_key import load_key
from stager.handlers.comments import RemoveGithubPullRequestCommentsOnKill
from stager.installation_checks import checks_for
from stager.ports.clock import RandomIds, SystemClock
from stager.ports.router import EdgeProxy
from stager.settings.loading.loader import Loaded
from stager.settings.model import Settings
from stager.settings.plugins.instances import PluginInstances
from stager.state import StateDirectory
from stager.stores.secret_box import FileSecretBox
from stager.stores.sqlite.store import open_store
from stager.web.app import create_app
from stager.web.context import WebContext, WebOptions

log = structlog.get_logger(__name__)

EXTRA_WAIT = 60.0
"""Seconds that a request waits for a launch beyond the application's own start timeout."""

SWEEP_TIMEOUT = 5.0
"""Seconds that the shutdown waits for Docker to remove unused networks."""


async def serve(loaded: Loaded, state: StateDirectory, stopped: asyncio.Event) -> None:
    """Run Stager until `stopped` is set. The previews and the front keep running.

    Args:
        state: locked by the caller.

    Raises:
        Fault: it can't start.
    """
    async with AsyncExitStack() as stack:
        control_plane, web, front = await _assemble(loaded, state, stack)
        async with asyncio.TaskGroup() as tasks:
            server = WebServer(create_app(control_plane, web), state)
            running = [
                tasks.create_task(front.keep(partial(_report_front, control_plane.reconciler.troubles))),
                tasks.create_task(control_plane.controller.run()),
                tasks.create_task(server.listen()),
            ]
            log.info("serving", url=control_plane.routing.urls.home, state=str(state.path))
            await stopped.wait()
            log.info("stopping")
            server.should_exit = True
            for task in running[:2]:
                task.cancel()


def _report_front(troubles: Troubles, trouble: str) -> None:
    if trouble:
        log.error("front_not_started", error=trouble)
    troubles.report("front", trouble)


async def tidy(settings: Settings, state: StateDirectory) -> None:
    """Remove the networks and images that Stager keeps for its next start, when there will be no next start.

    Raises:
        Retry: the engine doesn't answer.
    """
    async with AsyncExitStack() as stack:
        docker = connect(settings.engine.socket)
        stack.push_async_callback(docker.close)
        pool = NetworkPool(docker, state.installation, settings.network.pool, settings.network.prefix_length)
        await DockerInstances(docker, state.installation, pool, loopback=False).sweep()
        await builder_of(settings, state, docker).sweep(())


async def _assemble(
    loaded: Loaded, state: StateDirectory, stack: AsyncExitStack
) -> tuple[ControlPlane, WebContext, FrontLauncher]:
    settings = loaded.settings
    check_pool(settings.network.pool)
    helper = await helper_of(settings, state)
    edge_proxy = await edge_proxy_of(settings, state)
    store = await open_store(state.database)
    stack.push_async_callback(store.close)
    launcher, router, listen = await _front(settings, state, stack)
    docker = connect(settings.engine.socket)
    stack.push_async_callback(docker.close)
    prober = HttpProber()
    stack.push_async_callback(prober.close)
    session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=True))

    urls, clock = urls_of(settings, store, listen), SystemClock()
    await urls.load()
    firewall = firewall_of(helper, settings, state, lambda: public_ports(settings, listen, urls))
    instances = await _instances(settings, state, docker, firewall)
    stack.push_async_callback(_remove_unused_networks, instances)
    github, setup = github_of(settings, state, session)
    local = await local_forge_of(settings, listen, urls)
    logins = LoginFlows(accounts_of(settings, session, setup), lambda: urls.home, clock.now)
    ports = Ports(
        store=store,
        images=DockerImages(docker),
        instances=instances,
        prober=prober,
        router=router,
        clock=clock,
        ids=RandomIds(),
        secret_box=FileSecretBox(state.seal_key),
        webhooks={GITHUB: webhooks_of(settings, setup), **({LOCAL: local} if local else {})},
        forges=Forges([forge for forge in (github, local and local.parts) if forge]),
        builds=build_ports_of(settings, state, docker),
        edge_proxy=edge_proxy,
        firewall=firewall,
    )
    previews = RunningPreviews(store, urls)
    plugins = PluginSet.of(PluginInstances(loaded, previews, logins))
    control_plane = ControlPlane(
        ports, urls, settings.applications, plugins, _options(settings, state, edge_proxy), logins
    )
    previews.guard(control_plane.identity.authorizer)
    stack.push_async_callback(control_plane.close)
    stack.push_async_callback(control_plane.identity.audit.flush)
    await control_plane.routing.start(Endpoint(path=str(state.control_socket)))
    checks = checks_for(settings, state, is_up=True, domain=lambda: urls.domain if urls.is_known else "")
    web = WebContext(
        _web_options(loaded, state, control_plane.applications),
        front_stats=router.stats,
        setup=setup,
        checks=(
            *checks,
            control_plane.reconciler.unexpected_errors,
            control_plane.plugins.invoker.failures,
            DeliveryCheck(store),
        ),
    )
    return control_plane, web, launcher


async def _front(
    settings: Settings, state: StateDirectory, stack: AsyncExitStack
) -> tuple[FrontLauncher, FrontClient, str]:
    """The front's launcher and client, and the address where the front listens."""
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
    networks = NetworkPool(docker, state.installation, settings.network.pool, settings.network.prefix_length)
    return DockerInstances(docker, state.installation, networks, firewall=firewall, loopback=loopback)


async def _remove_unused_networks(instances: DockerInstances) -> None:
    """Remove networks that no container uses. The next start may be much later."""
    try:
        async with asyncio.timeout(SWEEP_TIMEOUT):
            await instances.sweep()
    except (StagerError, TimeoutError) as error:
        log.warning(
            "networks_left", error=str(error) or f"Docker didn't remove them within {SWEEP_TIMEOUT:g} s."
        )


def _options(settings: Settings, state: StateDirectory, edge_proxy: EdgeProxy | None) -> Options:
    return Options(
        intervals=Intervals(
            timedelta(seconds=settings.reconcile_interval),
            timedelta(seconds=settings.resync_interval),
            timedelta(seconds=settings.retention),
        ),
        max_previews=settings.max_previews or (len(tuple(settings.ingress_ports)) if edge_proxy else None),
        ingress_ports=tuple(settings.ingress_ports),
        reports=ReportOptions(
            installation=state.installation,
            comments=settings.comments,
            removes_comments=RemoveGithubPullRequestCommentsOnKill.__name__ in settings.pre_kill_handlers,
            deployments=settings.github.deployments,
            statuses=settings.github.statuses,
        ),
        identity=IdentityOptions(Roles(settings.roles), _lifetimes(settings)),
        key=load_key(state.front),
    )


def _lifetimes(settings: Settings) -> Lifetimes:
    return Lifetimes(
        idle=timedelta(seconds=settings.sessions.idle_timeout),
        longest=timedelta(seconds=settings.sessions.max_age),
        renew_every=timedelta(seconds=settings.sessions.rotation_interval),
        command_line=timedelta(seconds=settings.sessions.cli_max_age),
    )


def _web_options(loaded: Loaded, state: StateDirectory, applications: Applications) -> WebOptions:
    settings = loaded.settings
    return WebOptions(
        configuration=str(loaded.path) if loaded.path else "",
        warnings=loaded.warnings,
        start_timeout=max((_launch_timeout(a) for a in applications), default=0.0) + EXTRA_WAIT,
        trusted=settings.trusted_proxies,
        metrics_for=settings.metrics.allow,
        repositories=settings.local_forge,
        spool=str(state.path),
    )


def _launch_timeout(application: Application) -> float:
    """Seconds from a request to its result at most, without the time in the build queue."""
    build = application.build_timeout if application.build else 0.0
    return application.start_timeout + build
