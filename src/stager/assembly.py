"""The only room where names become objects: from settings to a running Stager."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta

import aiodocker
import aiohttp
import structlog
import uvicorn

from stager.control.access import Access
from stager.control.addresses import Addresses
from stager.control.applications import Application, Applications
from stager.control.calls import Calls
from stager.control.commands import Commands
from stager.control.errands import Errands
from stager.control.handling import Handling
from stager.control.intake import Intake
from stager.control.memory import Memory
from stager.control.metrics import Metrics
from stager.control.outposts import Outposts
from stager.control.ports import Ports
from stager.control.previews import RunningPreviews
from stager.control.publisher import Publisher
from stager.control.reporter import Reporter
from stager.control.resync import Resync
from stager.control.room import Room
from stager.control.runner import Runner
from stager.control.steps import Steps, Tools
from stager.control.supervisor import Intervals, Supervisor
from stager.control.watch import Watch
from stager.control.wishes import Wishes
from stager.domain.errors import Retry
from stager.domain.route import Endpoint
from stager.engines.docker import DockerImages, DockerInstances, NetworkPool, check_pool, connect
from stager.engines.docker.client import engine_errors
from stager.engines.probe import HttpProber
from stager.forges.github.account import Github, Place, as_nobody, with_app, with_token
from stager.forges.github.answers import AppCredentials
from stager.forges.github.keyring import Keyring
from stager.forges.github.setup import GithubSetup
from stager.forges.github.webhooks import GithubWebhooks
from stager.front.client import FrontClient
from stager.front.launcher import FrontLauncher, FrontOptions
from stager.handlers.comments import (
    AddGithubPullRequestCommentOnLaunch,
    RemoveGithubPullRequestCommentsOnKill,
)
from stager.ports.clock import RandomIds, SystemClock
from stager.ports.handlers import (
    AuthenticationStrategy,
    ContainerRotationStrategy,
    EventListener,
    PostLaunchHandler,
    PreKillHandler,
    PreLaunchHandler,
)
from stager.ports.store import Store
from stager.routers.nginx import Nginx, NginxRouter, load_template
from stager.settings.apps import App
from stager.settings.chosen import Chosen
from stager.settings.loader import Loaded
from stager.settings.model import Settings
from stager.state import StateDirectory
from stager.stores.sqlite.store import open_store
from stager.web.app import create_app
from stager.web.services import Services

log = structlog.get_logger(__name__)

SHUTDOWN_SECONDS = 3
EXTRA_WAIT = 60.0
"""Seconds that a launch is waited for beyond the application's own time to start."""


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
            web = _WebServer(services, state)
            running = [
                tasks.create_task(front.keep()),
                tasks.create_task(services.supervisor.run()),
                tasks.create_task(web.serve()),
            ]
            log.info("serving", url=services.addresses.home, state=str(state.path))
            await stopped.wait()
            log.info("stopping")
            web.should_exit = True
            for task in running[:2]:
                task.cancel()


async def _assemble(
    loaded: Loaded, state: StateDirectory, stack: AsyncExitStack
) -> tuple[Services, FrontLauncher]:
    settings = loaded.settings
    check_pool(settings.network.pool)
    outposts = await outposts_of(settings, state)
    store = await open_store(state.database)
    stack.push_async_callback(store.close)
    launcher = FrontLauncher(state.front, front_options(settings))
    hello = await launcher.ensure()
    stack.callback(launcher.release)
    router = FrontClient(state.front)
    stack.push_async_callback(router.close)
    docker = connect(settings.engine.socket)
    stack.push_async_callback(docker.close)
    prober = HttpProber()
    stack.push_async_callback(prober.close)

    clock, watch, metrics = SystemClock(), Watch(), Metrics()
    addresses = addresses_of(settings, store, hello.listen)
    await addresses.load()
    publisher = Publisher(router, outposts)
    await publisher.adopt()
    await publisher.frame(addresses.domain, Endpoint(path=str(state.control_socket)))
    applications = applications_of(settings)
    networks = NetworkPool(docker, state.installation, settings.network.pool, settings.network.size)
    loopback = await _reaches_by_loopback(settings, docker)
    instances = DockerInstances(docker, state.installation, networks, loopback=loopback)
    memory = Memory(store)
    runner = Runner(metrics)
    chosen = Chosen(loaded, RunningPreviews(store, addresses))
    listeners = chosen.those(EventListener)
    handling = Handling(
        store,
        addresses,
        runner,
        pre_launch=chosen.those(PreLaunchHandler),
        post_launch=chosen.those(PostLaunchHandler),
        pre_kill=chosen.those(PreKillHandler),
    )
    told = Errands(handling.launched)
    watch.listen(told.ask)
    stack.push_async_callback(told.close)
    steps = Steps(
        Tools(
            memory=memory,
            images=DockerImages(docker),
            instances=instances,
            prober=prober,
            publisher=publisher,
            addresses=addresses,
            applications=applications,
            watch=watch,
            clock=clock,
            metrics=metrics,
            handling=handling,
        )
    )
    github, setup = await _github(settings, state, stack)
    wishes = Wishes(addresses, clock, RandomIds())
    incoming = settings.github.incoming_auth
    webhooks = GithubWebhooks(
        incoming.hook_secret.reveal(),
        incoming.user,
        incoming.password.reveal(),
        app_secrets=setup.secrets,
    )

    def wake(environment: str) -> None:
        supervisor.wake(environment)

    room = Room(
        store=store,
        wishes=wishes,
        addresses=addresses,
        watch=watch,
        wake=wake,
        runner=runner,
        limit=settings.max_previews or (len(tuple(settings.ports)) if outposts else None),
        strategy=next(iter(chosen.those(ContainerRotationStrategy)), None),
    )
    intake = Intake(
        store=store,
        webhooks=webhooks,
        changes=github.client if github else None,
        listeners=listeners,
        applications=applications,
        wishes=wishes,
        watch=watch,
        wake=wake,
        clock=clock,
        metrics=metrics,
        runner=runner,
        room=room,
    )
    supervisor = Supervisor(
        store=store,
        instances=instances,
        router=router,
        publisher=publisher,
        steps=steps,
        intake=intake,
        resync=Resync(store, github.client, applications, intake, clock) if github else None,
        clock=clock,
        intervals=Intervals(
            timedelta(seconds=settings.pass_every),
            timedelta(seconds=settings.resync_every),
            timedelta(seconds=settings.keep_gone_for),
        ),
        outposts=outposts,
    )
    if github and AddGithubPullRequestCommentOnLaunch.__name__ in settings.post_launch_handlers:
        reporter = Reporter(
            store,
            github.client,
            addresses,
            state.installation,
            removes=RemoveGithubPullRequestCommentsOnKill.__name__ in settings.pre_kill_handlers,
        )
        watch.listen(reporter.changed)
        stack.push_async_callback(reporter.close)
    services = Services(
        access=Access(chosen.those(AuthenticationStrategy), runner),
        addresses=addresses,
        applications=applications,
        commands=Commands(
            store=store,
            memory=memory,
            instances=instances,
            applications=applications,
            wishes=wishes,
            watch=watch,
            tell=steps.tell,
            wake=wake,
            room=room,
        ),
        instances=instances,
        intake=intake,
        metrics=metrics,
        publisher=publisher,
        store=store,
        supervisor=supervisor,
        webhooks=webhooks,
        configuration=str(loaded.path) if loaded.path else "",
        warnings=loaded.warnings,
        front_figures=router.stats,
        calls=Calls(listeners, runner),
        setup=setup,
        start_timeout=max((a.start_timeout for a in applications), default=0.0) + EXTRA_WAIT,
    )
    return services, launcher


def addresses_of(settings: Settings, store: Store, listen: str) -> Addresses:
    """Where previews answer, by these settings.

    Args:
        listen: where the front listens, with the port that it really has.
    """
    port = listen.rpartition(":")[2]
    return Addresses(
        store,
        domain=settings.domain,
        preview_domain=settings.preview_domain,
        fallback=f"localhost:{port}",
        scheme=settings.scheme,
        template=settings.host_template,
    )


def applications_of(settings: Settings) -> Applications:
    """The entries under `images:` as control needs them."""
    return Applications({name: _application(name, app) for name, app in settings.images.items()})


def _application(name: str, app: App) -> Application:
    return Application(
        name=name,
        image=app.image,
        port=app.port,
        limits=app.limits,
        command=app.command,
        owner=app.repo_owner,
        variables={variable: value.reveal() for variable, value in app.env.items()},
        health_path=app.health_path,
        start_timeout=app.start_timeout,
        drain_timeout=app.drain_timeout,
        stop_grace=app.stop_grace,
        parameters=app.parameters,
    )


def front_options(settings: Settings) -> FrontOptions:
    """How the front is to run, by these settings."""
    tls = settings.tls
    return FrontOptions(
        listen=str(settings.listen),
        tls_listen=str(tls.listen) if tls else "",
        tls_certificate=str(tls.certificate) if tls else "",
        tls_key=str(tls.key) if tls else "",
        trusted_proxies=tuple(str(network) for network in settings.trusted_proxies),
        access_log=settings.access_log,
    )


async def outposts_of(settings: Settings, state: StateDirectory) -> Outposts | None:
    """What stands before the front and must be told about previews, by these settings; None if nothing.

    Raises:
        Fault: the template of a vhost file is no good.
    """
    nginx = settings.nginx
    if settings.routing_strategy != "NginxRoutingStrategy" or nginx.target_dir is None:
        return None
    scratch = state.path / "nginx"
    router = NginxRouter(
        template=load_template(nginx.template_path),
        folder=nginx.target_dir,
        scratch=scratch,
        installation=state.installation,
        nginx=Nginx(scratch, nginx.test_command, nginx.reload_command),
    )
    await router.check()
    return Outposts(router, Ports(settings.ports))


async def _github(
    settings: Settings, state: StateDirectory, stack: AsyncExitStack
) -> tuple[Github | None, GithubSetup]:
    """GitHub, where there are credentials to ask it with; and what has it make an App.

    Raises:
        Fault: the App's credentials are no good.
    """
    given, outgoing = settings.github, settings.github.outgoing_auth
    place = Place(given.api_url, given.web_url)
    session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=True))
    keyring = Keyring(state.github_app)
    configured = AppCredentials(given.app_id, given.private_key.reveal()) if given.app_id else None
    app = configured or keyring.load()
    setup = GithubSetup(
        as_nobody(session, place),
        keyring,
        given.web_url,
        running=app,
        overridden=configured is not None,
    )
    if app:
        return with_app(session, place, app), setup
    if outgoing.user:
        return with_token(session, place, outgoing.user, outgoing.password.reveal()), setup
    return None, setup


async def _reaches_by_loopback(settings: Settings, docker: aiodocker.Docker) -> bool:
    """Whether containers must publish a port, because their own addresses lie in another machine, as with
    Docker Desktop."""
    if settings.engine.reach != "auto":
        return settings.engine.reach == "loopback"
    if sys.platform != "linux":
        return True
    try:
        with engine_errors():
            facts = await docker.system.info()
    except Retry:
        return False
    return "Docker Desktop" in str(facts.get("OperatingSystem", ""))


class _WebServer(uvicorn.Server):
    """Stager's own pages, behind the front, on a Unix socket that nobody else can reach."""

    def __init__(self, services: Services, state: StateDirectory) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(services),
                uds=str(state.control_socket),
                log_config=None,
                access_log=False,
                lifespan="off",
                proxy_headers=True,
                forwarded_allow_ips="*",
                server_header=False,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours: `cli` turns them into an orderly stop."""
        yield
