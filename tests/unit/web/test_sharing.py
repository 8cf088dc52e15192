"""Share links: created, listed and revoked by the API; and what is sent to the front."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from stager.control.identity.authorizer import Roles
from stager.domain.environment import Environment
from stager.domain.identity.access_policy import AccessToken, Guard, Privacy, verify_token
from stager.domain.identity.roles import Role
from tests.unit.control.harness import KEY, SHOP
from tests.unit.web.harness import WebHarness, basic, web

PRIVATE = replace(SHOP, privacy=Privacy(frozenset({"link", "password"}), "open sesame"))
USERS = {"ann": "pass", "bob": "pass", "eve": "pass"}
ROLES = Roles({"basic:ann": Role.DEVELOPER, "basic:bob": Role.VIEWER, "basic:eve": Role.NONE})


@pytest.fixture(name="web")
async def private_site() -> AsyncIterator[WebHarness]:
    async with web(applications=[PRIVATE], users=USERS, roles=ROLES) as opened:
        yield opened


async def launched(web: WebHarness, name: str = "x") -> tuple[Environment, str]:
    environment = await web.harness.launch(name)
    await web.harness.rest()
    return environment, f"/api/v1/environments/{environment.id}/share-links"


async def made(web: WebHarness, path: str, **body: Any) -> dict[str, Any]:
    answer = await web.ask("POST", path, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def guard_of(web: WebHarness, environment: Environment) -> Guard:
    terms = web.harness.router.table.policies[environment.host]
    assert terms.guard is not None
    return terms.guard


def read(web: WebHarness, environment: Environment, url: str) -> AccessToken | None:
    """What the link's token says, to the front."""
    rig = urlsplit(url)
    assert rig.hostname == environment.host
    token = parse_qs(rig.query)["stager_share"][0]
    now = web.harness.running.clock.now().timestamp()
    return verify_token(token, "link", environment.host, KEY, now)


async def test_a_link_opens_the_preview_at_once(web: WebHarness) -> None:
    environment, path = await launched(web)
    new = await made(web, path, expires_in=3600, note="for the customer")
    visitor = read(web, environment, new["url"])
    assert visitor is not None
    assert guard_of(web, environment).admits(visitor)
    times = [datetime.fromisoformat(new[name]) for name in ("created_at", "expires_at")]
    assert (times[1] - times[0]).total_seconds() == 3600
    assert times[1].timestamp() == visitor.expires
    assert (new["note"], new["created_by"]) == ("for the customer", "ann (BasicAuthentication)")
    [listed] = (await web.ask("GET", path)).json()
    assert listed == {name: value for name, value in new.items() if name != "url"}


async def test_what_is_withdrawn_opens_nothing_from_then_on(web: WebHarness) -> None:
    environment, path = await launched(web)
    first, second = [await made(web, path) for _ in range(2)]
    assert guard_of(web, environment).links == {first["id"], second["id"]}
    for _ in range(2):
        assert (await web.ask("DELETE", f"{path}/{first['id']}")).status_code == 204
        assert guard_of(web, environment).links == {second["id"]}
    assert [each["id"] for each in (await web.ask("GET", path)).json()] == [second["id"]]


async def test_links_of_another_preview_are_none_of_this_ones(web: WebHarness) -> None:
    _, path = await launched(web)
    other, path_of_other = await launched(web, "y")
    new = await made(web, path_of_other)
    assert (await web.ask("DELETE", f"{path}/{new['id']}")).status_code == 404
    assert (await web.ask("DELETE", f"{path}/nothing")).status_code == 404
    assert guard_of(web, other).links == {new["id"]}


async def test_links_go_with_the_preview_and_dont_come_back_with_it(web: WebHarness) -> None:
    environment, path = await launched(web)
    await made(web, path)
    await web.ask("DELETE", f"/api/v1/environments/{environment.id}")
    await web.harness.rest()
    assert guard_of(web, environment).links == frozenset()
    assert (await web.ask("POST", path, json={})).json()["reason"] == "not-shared"
    again, _ = await launched(web)
    assert again.id == environment.id
    assert guard_of(web, environment).links == frozenset()


async def test_they_outlive_a_push_and_a_restart(web: WebHarness) -> None:
    environment, path = await launched(web)
    new = await made(web, path)
    await launched(web)
    assert guard_of(web, environment).links == {new["id"]}
    web.harness.router.table = replace(web.harness.router.table, policies={})
    await web.harness.running.routes.adopt()
    await web.harness.running.control_plane.routing.visitor_access.renew()
    assert guard_of(web, environment).links == {new["id"]}


@pytest.mark.parametrize("seconds", [59, 0, -1, 90 * 86_400 + 1, 10**12])
async def test_no_link_is_for_ever(web: WebHarness, seconds: int) -> None:
    _, path = await launched(web)
    assert (await web.ask("POST", path, json={"expires_in": seconds})).status_code == 422


async def test_there_are_not_any_number(web: WebHarness) -> None:
    _, path = await launched(web)
    answers = [(await web.ask("POST", path, json={})).status_code for _ in range(51)]
    assert answers == [201] * 50 + [409]


@pytest.mark.parametrize("privacy", [None, Privacy(frozenset({"password"}), "x")])
async def test_only_what_is_opened_by_links_is_shared(privacy: Privacy | None) -> None:
    async with web(applications=[replace(SHOP, privacy=privacy)]) as opened:
        _, path = await launched(opened)
        answer = await opened.ask("POST", path, json={})
        assert (answer.status_code, answer.json()["reason"]) == (409, "not-shared")


@pytest.mark.parametrize(("user", "status"), [("ann", 201), ("bob", 403), ("eve", 404)])
async def test_who_may(web: WebHarness, user: str, status: int) -> None:
    _, path = await launched(web)
    new = await made(web, path)
    theirs = basic(user)
    assert (await web.client.post(path, json={}, headers=theirs)).status_code == status
    assert (await web.client.get(path, headers=theirs)).status_code == (200 if status == 201 else status)
    answer = await web.client.delete(f"{path}/{new['id']}", headers=theirs)
    assert answer.status_code == (204 if status == 201 else status)
    assert (await web.client.post(path, json={})).status_code == 401


async def test_it_is_written_down_who_did_it(web: WebHarness) -> None:
    environment, path = await launched(web)
    new = await made(web, path)
    await web.ask("DELETE", f"{path}/{new['id']}")
    entries = await web.harness.store.read(lambda tx: tx.audit_records(limit=10))
    shared = [(entry.action, entry.result) for entry in entries if environment.id in entry.subject]
    assert shared == [("share", "done")] * 2


@pytest.mark.parametrize(
    ("viewers", "user", "status"),
    [
        (Role.VIEWER, "ann", 303),
        (Role.VIEWER, "bob", 303),
        (Role.VIEWER, "eve", 403),
        (Role.DEVELOPER, "ann", 303),
        (Role.DEVELOPER, "bob", 403),
    ],
)
async def test_who_comes_in_by_signing_in(viewers: Role, user: str, status: int) -> None:
    privacy = Privacy(frozenset({"sign-in"}), viewers=viewers)
    async with web(applications=[replace(SHOP, privacy=privacy)], users=USERS, roles=ROLES) as opened:
        environment, _ = await launched(opened)
        asked = {"host": environment.host, "to": "/a"}
        page = await opened.client.get("/preview-access", params=asked)
        assert page.status_code == 200
        answer = await opened.client.get("/preview-access/sign-in", params=asked, headers=basic(user))
        assert answer.status_code == status
        assert (await opened.client.get("/preview-access/sign-in", params=asked)).status_code == 401
        if status == 303:
            rig = urlsplit(answer.headers["location"])
            given = parse_qs(rig.query)
            now = opened.harness.running.clock.now().timestamp()
            grant = verify_token(given["grant"][0], "grant", environment.host, KEY, now)
            assert rig.path == "/.well-known/stager/access"
            assert given["to"] == ["/a"]
            assert grant is not None
            assert guard_of(opened, environment).admits(grant)
            assert grant.subject == user
            later = verify_token(given["grant"][0], "grant", environment.host, KEY, now + 61)
            assert later is None


async def test_the_page_asks_for_the_password_and_shows_nothing_else(web: WebHarness) -> None:
    environment, _ = await launched(web, "secret-plans")
    page = await web.client.get("/preview-access", params={"host": f"{environment.host}:80", "to": '"><b>'})
    assert 'type="password"' in page.text
    assert "share link" in page.text
    assert "Sign in" not in page.text
    assert "<b>" not in page.text
    assert "shop" not in page.text.lower()
    form = {"host": environment.host, "to": "//evil.test", "password": "open sesame"}
    answer = await web.client.post("/preview-access", data=form)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"http://{environment.host}/.well-known/stager/access?")
    assert answer.headers["location"].endswith("to=%2F")
    assert (await web.client.post("/preview-access", data={**form, "password": "x"})).status_code == 403
    assert (await web.client.post("/preview-access", data={**form, "password": ""})).status_code == 403
