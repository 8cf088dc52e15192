"""From settings to a running Stager."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial

import structlog

from stager.assembly.application_setup import BrowserSetup
from stager.assembly.builds import builder_of
from stager.assembly.drivers import Drivers, drivers_of
from stager.assembly.web_server import WebServer
from stager.checks.deliveries import DeliveryCheck
from stager.control.builds.package import Builds
from stager.control.control_plane import ControlPlane, Intervals, Options
from stager.control.diagnostics import Readiness
from stager.control.environments.plugin_api import RunningPreviews
from stager.control.identity.authorizer import Roles
from stager.control.identity.login_flows import LoginFlows
from stager.control.identity.package import IdentityOptions
from stager.control.identity.sessions import Lifetimes
from stager.control.plugins.package import PluginSet
from stager.control.reporting.package import ReportOptions
from stager.domain.application import Application, Applications
from stager.domain.route import Endpoint
from stager.engines.docker import (
    DockerInstances,
    NetworkPool,
    connect,
)
from stager.front.process.external_front import ExternalFront
from stager.front.process.launcher import FrontLauncher
from stager.front.process.signing_key import load_key
from stager.handlers.comments import RemoveGithubPullRequestCommentsOnKill
from stager.installation_checks import checks_for
from stager.settings.loading.loader import Loaded
from stager.settings.model import Settings
from stager.settings.plugins.instances import PluginInstances
from stager.state import StateDirectory
from stager.web.app import create_app
from stager.web.context import WebContext, WebOptions

log = structlog.get_logger(__name__)

EXTRA_WAIT = 60.0
"""Seconds that a request waits for a launch beyond the application's own start timeout."""


async def serve(
    loaded: Loaded,
    state: StateDirectory,
    stopped: asyncio.Event,
    *,
    reloads: bool = False,
    external_front: bool = False,
) -> bool:
    """Run Stager until `stopped` is set. The previews and the front keep running. Returns whether the caller
    should load the configuration and run it again, because an application was added in the browser.

    Args:
        reloads: whether the caller does so; otherwise no application can be added in the browser.
        state: locked by the caller.
        external_front: whether `stager front` runs the front, so that this process doesn't start one.

    Raises:
        Fault: it can't start.
    """
    async with AsyncExitStack() as stack:
        reload = asyncio.Event()
        control_plane, web, front = await _assemble(loaded, state, stack, external_front=external_front)
        if reloads:
            web = replace(web, applications=BrowserSetup(loaded.path, state.path, reload.set))
        async with asyncio.TaskGroup() as tasks:
            server = WebServer(create_app(control_plane, web), state)
            running = [
                tasks.create_task(front.keep(partial(_report_front, control_plane.reconciler.readiness))),
                tasks.create_task(control_plane.controller.run()),
                tasks.create_task(server.listen()),
            ]
            log.info("serving", url=control_plane.routing.urls.home, state=str(state.path))
            await _first(stopped.wait(), _drained(reload, control_plane.builds))
            log.info("stopping")
            server.should_exit = True
            control_plane.environments.change_log.close()
            for task in running[:2]:
                task.cancel()
        return not stopped.is_set()


async def _first(*awaited: Coroutine[None, None, object]) -> None:
    waiting = [asyncio.ensure_future(each) for each in awaited]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _drained(reload: asyncio.Event, builds: Builds) -> None:
    """Wait for a reload, then for the builds that run at that time."""
    await reload.wait()
    log.info("reloading")
    await builds.drain()


def _report_front(readiness: Readiness, problem: str) -> None:
    if problem:
        log.error("front_not_started", error=problem)
    readiness.report("front", problem)


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
    loaded: Loaded, state: StateDirectory, stack: AsyncExitStack, *, external_front: bool
) -> tuple[ControlPlane, WebContext, FrontLauncher | ExternalFront]:
    drivers = await drivers_of(loaded.settings, state, stack, external_front=external_front)
    control_plane = _control_plane(loaded, state, drivers)
    stack.push_async_callback(control_plane.close)
    stack.push_async_callback(control_plane.identity.audit.flush)
    await control_plane.routing.start(Endpoint(path=str(state.control_socket)))
    return control_plane, _web_context(loaded, state, drivers, control_plane), drivers.front_keeper


def _control_plane(loaded: Loaded, state: StateDirectory, drivers: Drivers) -> ControlPlane:
    settings, ports, urls = loaded.settings, drivers.ports, drivers.urls
    logins = LoginFlows(drivers.accounts, lambda: urls.home, ports.clock.now)
    previews = RunningPreviews(ports.store, urls)
    plugins = PluginSet.of(PluginInstances(loaded, previews, logins))
    options = _options(settings, state, has_edge_proxy=ports.edge_proxy is not None)
    control_plane = ControlPlane(ports, urls, settings.applications, plugins, options, logins)
    previews.guard(control_plane.identity.authorizer)
    return control_plane


def _web_context(
    loaded: Loaded, state: StateDirectory, drivers: Drivers, control_plane: ControlPlane
) -> WebContext:
    urls = drivers.urls
    checks = checks_for(
        loaded.settings, state, is_up=True, domain=lambda: urls.domain if urls.is_known else ""
    )
    return WebContext(
        _web_options(loaded, state, control_plane.applications),
        front_stats=drivers.front.stats,
        setup=drivers.setup,
        checks=(
            *checks,
            control_plane.reconciler.unexpected_errors,
            control_plane.plugins.invoker.failures,
            DeliveryCheck(drivers.ports.store),
        ),
    )


def _options(settings: Settings, state: StateDirectory, *, has_edge_proxy: bool) -> Options:
    return Options(
        intervals=Intervals(
            timedelta(seconds=settings.reconcile_interval),
            timedelta(seconds=settings.resync_interval),
            timedelta(seconds=settings.retention),
        ),
        max_previews=settings.max_previews
        or (len(tuple(settings.ingress_ports)) if has_edge_proxy else None),
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
