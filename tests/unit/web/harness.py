"""The web application over a control plane harness, and a client that calls it without a network."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from stager.auth.basic import BasicAuthentication
from stager.auth.github import GithubAuthentication
from stager.control.identity.authorizer import Roles
from stager.control.identity.login_flows import LoginFlows
from stager.domain.allocation import Limits
from stager.domain.application import Application
from stager.domain.errors import Retry
from stager.forges.github.webhooks.events import GithubWebhooks
from stager.handlers.authorization import GithubAuthorization, OpenIDConnectAuthorization
from stager.ports.handlers import AuthenticationStrategy, EventListener
from stager.ports.setup import AppSetup
from stager.testing.fakes.login import FakeAccounts
from stager.testing.fakes.setup import FakeApplicationSetup, FakeSetup
from stager.web.app import create_app
from stager.web.context import WebContext, WebOptions
from tests.doubles.github import GithubDouble, signed
from tests.unit.control.harness import SHOP, Harness
from tests.unit.control.harness import listeners as walkthrough_listeners
from tests.unit.control.virtual_time import LoopClock

SECRET = "s3cret"
HOST = "stager.test"
WAIT = 120.0


def basic(user: str = "ann", password: str = "pass") -> dict[str, str]:
    """The header of these credentials."""
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@dataclass
class WebHarness:
    """A running Stager with an HTTP client.

    Args:
        client: sends no credentials.
        github: creates payloads of deliveries.
    """

    harness: Harness
    app: FastAPI
    client: httpx.AsyncClient
    github: GithubDouble
    setup: FakeSetup

    async def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        """A request with ann's credentials."""
        headers = {**basic(), **how.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **how)

    async def post(self, path: str, **form: str) -> httpx.Response:
        """A form with ann's credentials, as curl sends it."""
        return await self.ask("POST", path, data=form)

    async def deliver(
        self, event: str, payload: dict[str, Any], path: str = "/event_receiver", **how: Any
    ) -> httpx.Response:
        """A delivery of GitHub's."""
        changes = how.pop("headers", {})
        headers, body = signed(event, payload, how.pop("secret", SECRET), **how)
        return await self.client.post(path, headers=headers | changes, content=body)


@asynccontextmanager
async def web(
    *,
    domain: str = "preview.test",
    users: Mapping[str, str] | None = None,
    hook: tuple[str, str] = ("", ""),
    applications: Sequence[Application] = (SHOP,),
    credentials: bool = False,
    authentication: Sequence[AuthenticationStrategy] = (),
    roles: Roles | None = None,
    listeners: Sequence[EventListener] = (),
    accounts: FakeAccounts | None = None,
    scheme: str = "http",
    limits: Limits | None = None,
    rest: bool = True,
) -> AsyncIterator[WebHarness]:
    """Run the web application within the block.

    Args:
        applications: the configured applications.
        credentials: whether Stager may call the fake forge's API.
        users: names and passwords; by default ann.
        authentication: strategies that replace the one of `users`.
        roles: the configured roles.
        listeners: event listeners besides the walkthrough's.
        accounts: the provider where people sign in, used by GithubAuthentication.
        scheme: of all URLs.
        limits: of capacity.
        hook: credentials that deliveries need in addition to their signature.
        rest: wait until everything is at rest; takes minutes unless time is virtual.
    """
    webhooks = GithubWebhooks(SECRET, *hook)
    known = {"ann": "pass"} if users is None else users
    clock = LoopClock()
    provider = accounts or FakeAccounts()
    logins = LoginFlows(provider, lambda: f"{scheme}://{domain or HOST}", clock.now)
    if accounts is not None and not authentication:
        authentication = [BasicAuthentication(known), GithubAuthentication(logins)]
    harness = Harness(
        applications,
        logins=logins,
        scheme=scheme,
        limits=limits or Limits(),
        credentials=credentials,
        domain=domain,
        webhooks=webhooks,
        authentication=authentication or [BasicAuthentication(known)],
        roles=roles or Roles(),
        listeners=[
            *walkthrough_listeners(),
            *listeners,
            GithubAuthorization(logins),
            OpenIDConnectAuthorization(logins),
        ],
    )
    async with harness.open(rest=rest):
        setup = FakeSetup()
        app = app_of(harness, setup=setup)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("192.0.2.1", 1234))
        async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://{HOST}") as client:
            yield WebHarness(harness, app, client, GithubDouble(), setup)


def app_of(harness: Harness, *, setup: AppSetup | None = None, **options: Any) -> FastAPI:
    """The web application over this control plane.

    Args:
        options: of `WebOptions`.
    """
    options = {"configuration": "config.yml", "warnings": ("One.",), "start_timeout": WAIT, **options}
    web = WebContext(WebOptions(**options), _away, setup, FakeApplicationSetup())
    return create_app(harness.running.control_plane, web)


async def _away() -> Mapping[str, object]:
    raise Retry("The front doesn't answer.", reason="front-away")
