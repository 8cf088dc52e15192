"""The hosts of services of a private preview are as private as its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from stager.control.identity.authorizer import Roles
from stager.domain.environment import Environment
from stager.domain.identity.access_policy import ACCESS_PATH, AccessToken, Privacy, verify_token
from stager.domain.identity.roles import Role
from stager.domain.route import Endpoint, Page
from stager.domain.service import ServiceSpec
from stager.domain.stack import StackDeclaration
from stager.testing import MemoryStore
from tests.unit.control.harness import KEY, SHOP
from tests.unit.web.harness import WebHarness, basic, web

PRIVATE = replace(
    SHOP,
    privacy=Privacy(frozenset({"link", "password", "sign-in"}), "open sesame"),
    declared=StackDeclaration((ServiceSpec("admin", image="acme/shop:1", port=8080),)),
)
USERS = {"ann": "pass", "eve": "pass"}
ROLES = Roles({"basic:ann": Role.DEVELOPER, "basic:eve": Role.NONE})


@pytest.fixture(name="web")
async def private_site() -> AsyncIterator[WebHarness]:
    async with web(applications=[PRIVATE], users=USERS, roles=ROLES) as opened:
        yield opened


async def launched(web: WebHarness) -> tuple[Environment, str]:
    """The environment, and the host of its service."""
    environment = await web.harness.launch("x")
    await web.harness.rest()
    return environment, f"admin--{environment.host}"


def assert_guarded(web: WebHarness, environment: Environment, host: str) -> None:
    """The front asks visitors of this host for the same as at the environment's own."""
    policies = web.harness.router.table.policies
    assert policies[host].guard is not None
    assert policies[host] == policies[environment.host]


def grant_of(web: WebHarness, answer: httpx.Response, host: str) -> AccessToken | None:
    """The grant that the visitor is redirected with, if it is for this host."""
    assert answer.status_code == 303, answer.text
    target = urlsplit(answer.headers["location"])
    assert (target.hostname, target.path) == (host, ACCESS_PATH)
    [grant] = parse_qs(target.query)["grant"]
    return verify_token(grant, "grant", host, KEY, web.harness.running.clock.now().timestamp())


async def test_a_service_is_guarded_while_it_serves_starts_and_is_gone(web: WebHarness) -> None:
    environment, host = await launched(web)
    assert isinstance(web.harness.target(host), Endpoint)
    assert_guarded(web, environment, host)

    await web.harness.launch("x")
    assert_guarded(web, environment, host)
    await web.harness.stop("x")
    await web.harness.rest()
    assert isinstance(web.harness.target(host), Page)
    assert_guarded(web, environment, host)


async def test_it_stays_guarded_when_the_database_is_lost(web: WebHarness) -> None:
    environment, host = await launched(web)
    await web.harness.kill()
    web.harness.store = MemoryStore()
    served = web.harness.served(host)
    await web.harness.start()

    assert served is not None
    assert web.harness.served(host) == served
    assert_guarded(web, environment, host)


async def test_policies_of_all_hosts_are_renewed(web: WebHarness) -> None:
    environment, host = await launched(web)
    web.harness.router.table = replace(web.harness.router.table, policies={})
    await web.harness.running.routes.adopt()
    await web.harness.running.control_plane.routing.visitor_access.renew()

    assert_guarded(web, environment, host)


async def test_the_password_opens_the_requested_host_and_no_other(web: WebHarness) -> None:
    environment, host = await launched(web)
    form = {"host": host, "to": "/tables", "password": "wrong"}
    assert (await web.client.post("/preview-access", data=form)).status_code == 403
    answer = await web.client.post("/preview-access", data={**form, "password": "open sesame"})

    assert grant_of(web, answer, host) is not None
    [grant] = parse_qs(urlsplit(answer.headers["location"]).query)["grant"]
    now = web.harness.running.clock.now().timestamp()
    assert verify_token(grant, "grant", environment.host, KEY, now) is None


async def test_the_form_may_redirect_through_all_hosts_and_no_others(web: WebHarness) -> None:
    """Browsers apply `form-action` to redirects, too."""
    environment, host = await launched(web)
    answer = await web.client.get("/preview-access", params={"host": host, "to": "/"})
    policy = answer.headers["content-security-policy"]
    allowed = policy.partition("form-action ")[2].partition(";")[0].split()
    assert allowed == ["'self'", f"http://{environment.host}", f"http://{host}"]


async def test_who_may_not_see_the_preview_may_not_see_its_service(web: WebHarness) -> None:
    _, host = await launched(web)
    path = "/preview-access/sign-in"

    answer = await web.client.get(path, params={"host": host}, headers=basic("ann"))
    assert grant_of(web, answer, host) is not None
    refused = await web.client.get(path, params={"host": host}, headers=basic("eve"))
    assert refused.status_code in {403, 404}
    assert "location" not in refused.headers


async def test_a_share_link_counts_at_all_hosts_until_it_is_revoked(web: WebHarness) -> None:
    environment, host = await launched(web)
    path = f"/api/v1/environments/{environment.id}/share-links"
    made = (await web.ask("POST", path, json={})).json()
    guard = web.harness.router.table.policies[host].guard
    assert guard is not None
    assert guard.links == {made["id"]}
    assert_guarded(web, environment, host)

    assert (await web.ask("DELETE", f"{path}/{made['id']}")).status_code == 204
    guard = web.harness.router.table.policies[host].guard
    assert guard is not None
    assert guard.links == frozenset()
