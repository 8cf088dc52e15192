"""From settings to a running Stager."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

import structlog

from stager.assembly.builds import builder_of
from stager.assembly.drivers import Drivers, drivers_of
from stager.control.builds.package import Builds
from stager.control.control_plane import ControlPlane, Intervals, Options
from stager.control.diagnostics import Readiness
from stager.control.environments.capacity import CapacityOptions
from stager.control.environments.plugin_api import RunningPreviews
from stager.control.identity.authorizer import Roles
from stager.control.identity.login_flows import LoginFlows
from stager.control.identity.package import IdentityOptions
from stager.control.identity.sessions import Lifetimes
from stager.control.plugins.package import PluginSet
from stager.control.reporting.package import ReportOptions
from stager.domain.route import Endpoint
from stager.engines.docker import (
    DockerInstances,
    NetworkPool,
    connect,
)
from stager.fast_import import import_in_background
from stager.front.process.signing_key import load_key
from stager.handlers.comments import RemoveGithubPullRequestCommentsOnKill
from stager.settings.loading.loader import Loaded
from stager.settings.model import Settings
from stager.settings.plugins.instances import PluginInstances
from stager.state import StateDirectory

log = structlog.get_logger(__name__)

MAX_WAIT = 3.0
"""Seconds that Stager's own pages wait for the first preview of an embedding command."""


class Embedding:
    """The control plane for a command that runs the server in its own process.

    Attributes:
        control_plane: set once it runs.
        is_settled: set by the command when its preview is live or has failed. Stager's own pages, which take
            a third of the processor time of the start, wait for that, for `MAX_WAIT` at most.
    """

    def __init__(self) -> None:
        self.control_plane: asyncio.Future[ControlPlane] = asyncio.get_running_loop().create_future()
        self.is_settled = asyncio.Event()


async def serve(
    loaded: Loaded,
    state: StateDirectory,
    stopped: asyncio.Event,
    *,
    reloads: bool = False,
    external_front: bool = False,
    embedding: Embedding | None = None,
) -> bool:
    """Run Stager until `stopped` is set. The previews and the front keep running. Returns whether the caller
    should load the configuration and run it again, because an application was added in the browser.

    Args:
        reloads: whether the caller does so; otherwise no application can be added in the browser.
        state: locked by the caller.
        external_front: whether `stager front` runs the front, so that this process doesn't start one.
        embedding: the command that runs it, if it uses the control plane directly.

    Raises:
        Fault: it can't start.
    """
    async with AsyncExitStack() as stack:
        reload = asyncio.Event()
        drivers, control_plane = await _assemble(loaded, state, stack, external_front=external_front)
        async with asyncio.TaskGroup() as tasks:
            report = partial(_report_front, control_plane.reconciler.readiness)
            running = [
                tasks.create_task(drivers.front_keeper.keep(report)),
                tasks.create_task(control_plane.controller.run()),
            ]
            if embedding is not None:
                embedding.control_plane.set_result(control_plane)
                await _within(MAX_WAIT, _first(embedding.is_settled.wait(), stopped.wait()))
            # Takes a third of the start, in which the controller works already.
            await import_in_background("stager.assembly.web_server")
            from stager.assembly.web_server import web_server_of  # noqa: PLC0415

            web = web_server_of(loaded, state, drivers, control_plane, reload.set if reloads else None)
            _exclude_from_collections()
            tasks.create_task(web.listen())
            log.info("serving", url=control_plane.routing.urls.home, state=str(state.path))
            await _first(stopped.wait(), _drained(reload, control_plane.builds))
            log.info("stopping")
            web.should_exit = True
            control_plane.environments.change_log.close()
            for task in running:
                task.cancel()
        return not stopped.is_set()


async def _within(seconds: float, awaited: Coroutine[None, None, None]) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(awaited, seconds)


def _exclude_from_collections() -> None:
    """Exclude what exists now, mostly imported modules, from garbage collections.

    A full one took 130 ms of CPU time (measured), in which the event loop answered no request.
    """
    gc.unfreeze()  # what an earlier configuration left behind
    gc.collect()
    gc.freeze()


async def _first(*awaited: Coroutine[None, None, object]) -> None:
    waiting = [asyncio.ensure_future(each) for each in awaited]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
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
    if settings.is_swarm:
        return  # the full reconciliation removes them, also those of nodes that don't answer now
    async with AsyncExitStack() as stack:
        docker = connect(settings.engine.socket)
        stack.push_async_callback(docker.close)
        pool = NetworkPool(docker, state.installation, settings.network.pool, settings.network.prefix_length)
        await DockerInstances(docker, state.installation, pool, loopback=False).sweep()
        await builder_of(settings, state, docker).sweep(())


async def _assemble(
    loaded: Loaded, state: StateDirectory, stack: AsyncExitStack, *, external_front: bool
) -> tuple[Drivers, ControlPlane]:
    drivers = await drivers_of(loaded.settings, state, stack, external_front=external_front)
    control_plane = _control_plane(loaded, state, drivers)
    stack.push_async_callback(control_plane.close)
    stack.push_async_callback(control_plane.identity.audit.flush)
    await control_plane.routing.start(Endpoint(path=str(state.control_socket)))
    return drivers, control_plane


def _control_plane(loaded: Loaded, state: StateDirectory, drivers: Drivers) -> ControlPlane:
    settings, ports, urls = loaded.settings, drivers.ports, drivers.urls
    logins = LoginFlows(drivers.accounts, lambda: urls.home, ports.clock.now)
    previews = RunningPreviews(ports.store, urls)
    plugins = PluginSet.of(PluginInstances(loaded, previews, logins))
    options = _options(settings, state, has_edge_proxy=ports.edge_proxy is not None)
    control_plane = ControlPlane(ports, urls, settings.applications, plugins, options, logins)
    previews.guard(control_plane.identity.authorizer)
    return control_plane


def _options(settings: Settings, state: StateDirectory, *, has_edge_proxy: bool) -> Options:
    return Options(
        intervals=Intervals(
            timedelta(seconds=settings.reconcile_interval),
            timedelta(seconds=settings.resync_interval),
            timedelta(seconds=settings.retention),
        ),
        capacity=_capacity(settings, has_edge_proxy=has_edge_proxy),
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


def _capacity(settings: Settings, *, has_edge_proxy: bool) -> CapacityOptions:
    limits = settings.limits
    if limits.previews is None and has_edge_proxy:
        limits = replace(limits, previews=len(tuple(settings.ingress_ports)))
    return CapacityOptions(limits, timedelta(seconds=settings.capacity.min_idle))


def _lifetimes(settings: Settings) -> Lifetimes:
    return Lifetimes(
        idle=timedelta(seconds=settings.sessions.idle_timeout),
        longest=timedelta(seconds=settings.sessions.max_age),
        renew_every=timedelta(seconds=settings.sessions.rotation_interval),
        command_line=timedelta(seconds=settings.sessions.cli_max_age),
    )
