"""What the routes work with, as one value that the application carries."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, cast

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from stager.control.builds.queue import BuildQueue
from stager.control.environments.attach import Inside
from stager.control.environments.commands import Commands
from stager.control.environments.share_links import ShareLinks
from stager.control.identity.access import Access
from stager.control.identity.api_tokens import Tokens
from stager.control.identity.audit import Audit
from stager.control.identity.sessions import Sessions
from stager.control.identity.sign_in import SigningIn
from stager.control.identity.throttle import Throttle
from stager.control.metrics import Metrics
from stager.control.plugins.action_calls import ActionCalls
from stager.control.plugins.handler_failures import HandlerFailures
from stager.control.pull_requests.forges import Forges
from stager.control.pull_requests.webhooks import WebhookConsumer
from stager.control.reconciler.controller import Controller
from stager.control.reconciler.unexpected_errors import UnexpectedErrors
from stager.control.routing.route_table import Routes
from stager.control.routing.urls import Urls
from stager.control.routing.visitor_access import VisitorAccess
from stager.domain.application import Applications
from stager.domain.identity.actor import Actor
from stager.domain.identity.client_addresses import Network, sender
from stager.ports.clock import SystemClock
from stager.ports.diagnostics import Check
from stager.ports.engine import Instances
from stager.ports.firewall import Firewall
from stager.ports.forge import Webhooks
from stager.ports.handlers import Credentials
from stager.ports.setup import AppSetup
from stager.ports.store import Store
from stager.web.auth import cookies
from stager.web.auth.csrf import SAFE_METHODS, is_from_elsewhere, is_ours
from stager.web.auth.oauth_state import States
from stager.web.request_body import parameters_of

GUESSES_OF_ALL = 200
"""Wrong passwords a minute for one preview, from wherever: too few to guess by, too many to be in people's
way."""


def _guesses() -> tuple[Throttle, Throttle]:
    now = SystemClock().now
    return Throttle(now), Throttle(now, GUESSES_OF_ALL)


@dataclass(frozen=True, slots=True)
class Services:
    """One running Stager, as the web sees it.

    Args:
        configuration: the path of the configuration file; empty when there is none.
        warnings: what the configuration makes one think of.
        start_timeout: seconds that a launch is waited for at most.
        front_figures: what the front counts; raises `Retry` while it is away.
        webhooks: who verifies deliveries, by forge.
        trusted: the networks of proxies that stand before the front.
        metrics_for: the networks from which the figures are read without credentials.
        builds: the builds under way and their logs; None where nothing is built.
        firewall: tells what previews were kept from; None where nothing guards them.
        repositories: the local forge's, by their names.
        forges: those that can be asked.
        calls: the listeners that answer requests to `/event_receiver` with `action=`.
        setup: connects the forge from our own pages; None where that can't be done.
        failures: of previews, by errors of Stager's own.
        handler_failures: of handlers' last calls.
        checks: look whether what Stager needs is as it should be.
        states: who was sent to the forge and is expected back.
        spool: the folder for large bodies while they are read; empty for the system's own.
        guesses: of previews' passwords: from one address, and from all together.
    """

    access: Access
    audit: Audit
    tokens: Tokens
    sessions: Sessions
    signing_in: SigningIn
    addresses: Urls
    applications: Applications
    visitor_access: VisitorAccess
    sharing: ShareLinks
    commands: Commands
    instances: Instances
    webhook_consumer: WebhookConsumer
    metrics: Metrics
    routes: Routes
    store: Store
    controller: Controller
    webhooks: Mapping[str, Webhooks]
    configuration: str
    warnings: tuple[str, ...]
    start_timeout: float
    front_figures: Callable[[], Awaitable[Mapping[str, object]]]
    trusted: Sequence[Network] = ()
    metrics_for: Sequence[Network] = ()
    builds: BuildQueue | None = None
    repositories: Mapping[str, Path] = field(default_factory=dict)
    forges: Forges = field(default_factory=Forges)
    calls: ActionCalls = field(default_factory=ActionCalls)
    setup: AppSetup | None = None
    failures: UnexpectedErrors = field(default_factory=UnexpectedErrors)
    handler_failures: HandlerFailures = field(default_factory=HandlerFailures)
    firewall: Firewall | None = None
    checks: Sequence[Check] = ()
    states: States = field(default_factory=States)
    spool: str = ""
    guesses: tuple[Throttle, Throttle] = field(default_factory=_guesses)

    @property
    def inside(self) -> Inside:
        """What goes on inside instances."""
        return Inside(self.store, self.instances)

    @property
    def secure(self) -> bool:
        """Whether people reach our own pages over HTTPS only, so that cookies may insist on it."""
        return self.addresses.home.startswith("https:")

    async def learn_domain(self, request: Request) -> None:
        """Take the Host of an authenticated request for the installation's, when it hasn't one yet."""
        if await self.addresses.learn(request.headers.get("host", "")):
            home = self.routes.table.home
            if home is not None:
                await self.routes.frame(self.addresses.domain, home)
                await self.visitor_access.renew()


async def services_of(request: Request) -> Services:
    """The services that the application carries. Asynchronous, or it would cost a thread for each request."""
    return cast("Services", request.app.state.services)


async def actor_of(request: Request, services: Annotated[Services, Depends(services_of)]) -> Actor:
    """Who sends this request. Raises `Refused` (401) for whoever isn't known."""
    actor = await services.access.actor(await credentials_of(request))
    await services.learn_domain(request)
    return actor


async def credentials_of(request: Request) -> Credentials:
    """What the request has by which its sender may be known."""
    authorization = request.headers.get("authorization", "")
    services = await services_of(request)
    address = address_of(request, services.trusted)
    session = session_of(request, services)
    given = Credentials(authorization, await parameters_of(request), address, session)
    return given.without_parameter if is_from_elsewhere(request.scope) else given


async def visitor_of(request: Request, services: Services) -> Actor | None:
    """Who is signed in in the browser that sends this; None for nobody."""
    return await services.sessions.actor(session_of(request, services))


def session_of(request: Request, services: Services) -> str:
    """The secret of the browser's session; empty for none. What changes something has one only when it
    certainly comes from a page of ours, because a browser adds cookies by itself."""
    if request.method not in SAFE_METHODS and not is_ours(request.scope):
        return ""
    return cookies.read(request, cookies.SESSION, secure=services.secure)


def as_basic(user: str, password: str) -> str:
    """The value of an `Authorization` header (RFC 7617)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def address_of(request: HTTPConnection, trusted: Sequence[Network]) -> str:
    """The address that the request came from: the last that isn't a proxy's that we trust. Whatever stands
    before that in `X-Forwarded-For` may be the sender's own invention; the front writes the last one."""
    peer = request.client.host if request.client else ""
    return sender(request.headers.get("x-forwarded-for", ""), trusted, peer)


def is_on_control_socket(request: HTTPConnection) -> bool:
    """Whether it came by Stager's own socket, which nobody else can open, and not through the front: that
    always says by which scheme it was asked."""
    return not {"x-forwarded-for", "x-forwarded-proto"} & set(request.headers)


Served = Annotated[Services, Depends(services_of)]
Known = Annotated[Actor, Depends(actor_of)]
