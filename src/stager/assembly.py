"""The only room where names become objects: from settings to a running Stager."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta

import aiodocker
import aiohttp
import structlog
import uvicorn

from stager.checkup import checks_of
from stager.control.access import Roles
from stager.control.addresses import Addresses
from stager.control.applications import SHA_PLACE, Application, Applications
from stager.control.core import Cast, Conduct, Core, World
from stager.control.forges import Forges
from stager.control.logins import CurrentLogins
from stager.control.outposts import Outposts
from stager.control.ports import Ports
from stager.control.previews import RunningPreviews
from stager.control.sessions import Lifetimes
from stager.control.supervisor import Intervals
from stager.control.workshop import Workshop
from stager.domain.errors import Retry
from stager.domain.route import Endpoint
from stager.engines.docker import DockerImages, DockerInstances, NetworkPool, check_pool, connect
from stager.engines.docker.builder import BuildxBuilder
from stager.engines.docker.client import engine_errors
from stager.engines.probe import HttpProber
from stager.forges.github.account import Place, as_nobody, with_app, with_token
from stager.forges.github.answers import AppCredentials
from stager.forges.github.keyring import Keyring
from stager.forges.github.setup import GithubSetup
from stager.forges.github.signing_in import Client, GithubSignIn
from stager.forges.github.webhooks import FORGE as GITHUB
from stager.forges.github.webhooks import GithubWebhooks
from stager.forges.local import LocalForge
from stager.forges.local.messages import FORGE as LOCAL
from stager.front.client import FrontClient
from stager.front.key import load_key
from stager.front.launcher import FrontLauncher, FrontOptions
from stager.handlers.comments import RemoveGithubPullRequestCommentsOnKill
from stager.ports.clock import RandomIds, SystemClock
from stager.ports.forge import Forge
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
from stager.sources.git import GitSources
from stager.sources.limits import Limits
from stager.state import StateDirectory
from stager.stores.logs import FileLogs
from stager.stores.seal import FileSeal
from stager.stores.sqlite.store import open_store
from stager.web.app import create_app
from stager.web.services import Services

log = structlog.get_logger(__name__)

SHUTDOWN_SECONDS = 3
LOOPBACK = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "::": "[::1]"}  # noqa: S104 (nobody listens here)
"""By what address of this machine one reaches what listens on all of them."""

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
        await _builder(settings, state, docker).sweep(())


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

    addresses = addresses_of(settings, store, hello.listen)
    await addresses.load()
    networks = NetworkPool(docker, state.installation, settings.network.pool, settings.network.size)
    loopback = await _reaches_by_loopback(settings, docker)
    clock = SystemClock()
    session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=True))
    github, setup = _github(settings, state, session)
    logins = CurrentLogins(_accounts(settings, session, setup), lambda: addresses.home, clock.now)
    local = await _local(settings, hello.listen, addresses)
    world = World(
        store=store,
        images=DockerImages(docker),
        instances=DockerInstances(docker, state.installation, networks, loopback=loopback),
        prober=prober,
        router=router,
        clock=clock,
        ids=RandomIds(),
        seal=FileSeal(state.seal_key),
        webhooks={GITHUB: _webhooks(settings, setup), **({LOCAL: local} if local else {})},
        forges=Forges([forge for forge in (github, local and local.parts) if forge]),
        workshop=_workshop(settings, state, docker),
        outposts=outposts,
        logins=logins,
    )
    cast = _cast(Chosen(loaded, RunningPreviews(store, addresses), logins))
    core = Core(world, addresses, applications_of(settings), cast, _conduct(settings, state, outposts))
    stack.push_async_callback(core.close)
    await core.publisher.adopt()
    await core.publisher.frame(addresses.domain, Endpoint(path=str(state.control_socket)))
    await core.guards.renew()
    services = _services(core, world, loaded, router, setup)
    checks = tuple(
        checks_of(settings, state, is_up=True, domain=lambda: addresses.domain if addresses.known else "")
    )
    return replace(services, checks=checks), launcher


def _cast(chosen: Chosen) -> Cast:
    return Cast(
        listeners=chosen.those(EventListener),
        pre_launch=chosen.those(PreLaunchHandler),
        post_launch=chosen.those(PostLaunchHandler),
        pre_kill=chosen.those(PreKillHandler),
        authentication=chosen.those(AuthenticationStrategy),
        rotation=next(iter(chosen.those(ContainerRotationStrategy)), None),
    )


def _conduct(settings: Settings, state: StateDirectory, outposts: Outposts | None) -> Conduct:
    return Conduct(
        intervals=Intervals(
            timedelta(seconds=settings.pass_every),
            timedelta(seconds=settings.resync_every),
            timedelta(seconds=settings.keep_gone_for),
        ),
        max_previews=settings.max_previews or (len(tuple(settings.ports)) if outposts else None),
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


def _services(core: Core, world: World, loaded: Loaded, front: FrontClient, setup: GithubSetup) -> Services:
    return Services(
        access=core.access,
        audit=core.audit,
        tokens=core.tokens,
        sessions=core.sessions,
        signing_in=core.signing_in,
        addresses=core.addresses,
        applications=core.applications,
        guards=core.guards,
        sharing=core.sharing,
        builds=core.builds,
        commands=core.commands,
        forges=world.forges,
        instances=world.instances,
        intake=core.intake,
        metrics=core.metrics,
        publisher=core.publisher,
        store=world.store,
        supervisor=core.supervisor,
        webhooks=world.webhooks,
        trusted=loaded.settings.trusted_proxies,
        configuration=str(loaded.path) if loaded.path else "",
        warnings=loaded.warnings,
        repositories=loaded.settings.local_forge,
        front_figures=front.stats,
        calls=core.calls,
        setup=setup,
        start_timeout=max((_patience(a) for a in core.applications), default=0.0) + EXTRA_WAIT,
    )


def _patience(application: Application) -> float:
    """Seconds from a wish to an answer at most, without the time in line."""
    made = application.build_timeout if application.build else 0.0
    return application.start_timeout + made


def _webhooks(settings: Settings, setup: GithubSetup) -> GithubWebhooks:
    incoming = settings.github.incoming_auth
    return GithubWebhooks(
        incoming.hook_secret.reveal(),
        incoming.user,
        incoming.password.reveal(),
        app_secrets=setup.secrets,
    )


def _workshop(settings: Settings, state: StateDirectory, docker: aiodocker.Docker) -> Workshop | None:
    """What images are built with, where an application is."""
    if not any(app.build or SHA_PLACE in app.image for app in settings.images.values()):
        return None
    builds = settings.builds
    return Workshop(
        sources=GitSources(state.path / "sources", Limits(builds.largest_source, builds.fetch_timeout)),
        builder=_builder(settings, state, docker),
        logs=FileLogs(state.path / "builds"),
        at_once=builds.at_once,
    )


def _builder(settings: Settings, state: StateDirectory, docker: aiodocker.Docker) -> BuildxBuilder:
    builds = settings.builds
    return BuildxBuilder(
        docker,
        settings.engine.socket,
        state.installation,
        disk_floor=builds.disk_floor,
        cgroup_parent=builds.cgroup_parent,
        cache_limit=builds.cache,
    )


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
    applications = {name: _application(name, app) for name, app in settings.images.items()}
    local = {name: replace(applications[name], owner=LOCAL) for name in settings.local_forge}
    return Applications(applications | local)


def _application(name: str, app: App) -> Application:
    return Application(
        name=name,
        image=app.image,
        port=app.port,
        limits=app.limits,
        command=app.command,
        owner=app.repo_owner,
        variables={name: value.reveal() for name, value in app.env.items() if not value.kept_elsewhere},
        secrets={
            **{name: value.reveal() for name, value in app.env.items() if value.kept_elsewhere},
            **{name: value.reveal() for name, value in app.secrets.items()},
        },
        health_path=app.health_path,
        start_timeout=app.start_timeout,
        drain_timeout=app.drain_timeout,
        stop_grace=app.stop_grace,
        parameters=app.parameters,
        build=app.build.recipe if app.build else None,
        build_timeout=app.build.timeout if app.build else 0.0,
        image_timeout=app.image_timeout,
        hooks=app.hooks.hooks,
        repository_file=app.repository_file,
        repository_may=frozenset(app.repository_may),
        forks=app.forks,
        rules=app.pull_requests.rules,
        privacy=app.private.privacy if app.private else None,
        index=app.index,
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


def _github(
    settings: Settings, state: StateDirectory, session: aiohttp.ClientSession
) -> tuple[Forge | None, GithubSetup]:
    """GitHub, where there are credentials to ask it with; and what has it make an App.

    Raises:
        Fault: the App's credentials are no good.
    """
    given, outgoing = settings.github, settings.github.outgoing_auth
    place = Place(given.api_url, given.web_url)
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


def _accounts(settings: Settings, session: aiohttp.ClientSession, setup: GithubSetup) -> GithubSignIn:
    """People's accounts at GitHub: they sign in to the configured OAuth application, or to the App that was
    made with one click, as soon as it is."""
    given = settings.github
    place = Place(given.api_url, given.web_url)

    def client() -> Client | None:
        if given.client_id:
            return Client(given.client_id, given.client_secret.reveal())
        return setup.client()

    return GithubSignIn(session, place, client, given.scope)


async def _local(settings: Settings, listen: str, addresses: Addresses) -> LocalForge | None:
    """The repositories on this machine, with hooks that find us; None where there are none.

    Args:
        listen: where the front listens.

    Raises:
        Refused: one of them can't be used.
    """
    if not settings.local_forge:
        return None
    forge = LocalForge(settings.local_forge, lambda: addresses.home)
    host, _, port = listen.rpartition(":")
    await forge.open(f"http://{LOOPBACK.get(host, host)}:{port}")
    return forge


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
