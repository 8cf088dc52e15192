"""The last deliveries, on a page and in the API: what arrived, and why nothing happened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stager.auth.basic import BasicAuthentication
from stager.control.identity.authorizer import Roles
from stager.domain.identity.roles import Role
from stager.domain.pull_requests.events import Delivery
from tests.unit.control.harness import SHOP
from tests.unit.web.harness import WebHarness, basic, web

EVIL = '"><script>alert(1)</script>'


async def listed(opened: WebHarness) -> dict[str, Any]:
    answer = await opened.ask("GET", "/api/v1/deliveries")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def event_of(opened: WebHarness, title: str) -> dict[str, Any]:
    """The payload of a pull request with this title."""
    pull = opened.github.open_pull(opened.github.add_repository("acme", "shop"), "feature-x")
    payload = opened.github.event("opened", pull)
    payload["pull_request"]["title"] = title
    return payload


async def opened_in(opened: WebHarness, name: str) -> None:
    """A pull request is opened in this repository."""
    pull = opened.github.open_pull(opened.github.add_repository("acme", name), "feature-x")
    payload = opened.github.event("opened", pull)
    assert (await opened.deliver("pull_request", payload)).status_code == 202
    await opened.harness.rest(30)


async def test_a_launch_and_one_for_no_application(web: WebHarness) -> None:
    await opened_in(web, "shop")
    await opened_in(web, "unknown")

    newest, before = (await listed(web))["deliveries"]
    assert newest["about"].startswith("acme/unknown#")
    assert newest["outcome"] == "ignored: no application is for acme/unknown"
    assert before["about"].startswith("acme/shop#")
    assert (before["outcome"], before["event"], before["forge"]) == ("launched", "pull_request", "github")
    page = (await web.ask("GET", "/deliveries")).text
    assert "ignored: no application is for acme/unknown" in page
    assert "launched" in page


async def test_content_is_neither_shown_nor_kept(web: WebHarness) -> None:
    payload = event_of(web, "a private title")
    await web.deliver("pull_request", payload)
    await web.harness.rest(30)

    for path in ("/deliveries", "/api/v1/deliveries"):
        assert "a private title" not in (await web.ask("GET", path)).text


async def test_texts_of_the_forge_are_escaped(web: WebHarness) -> None:
    store, one = web.harness.store, Delivery(EVIL, "github", EVIL, "{}")
    now = web.harness.running.clock.now()
    await store.write(lambda tx: tx.add_delivery(one, now))
    await store.write(lambda tx: tx.finish_delivery(one, f"ignored: {EVIL}", now, EVIL))

    page = (await web.ask("GET", "/deliveries")).text
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 4


async def test_refused_ones_are_counted_by_cause(web: WebHarness) -> None:
    payload = event_of(web, "who knows")
    for number in range(5):
        answer = await web.deliver("pull_request", payload, secret=f"guessed {number}")
        assert answer.status_code == 401

    found = await listed(web)
    assert found["deliveries"] == []
    [refused] = found["refused"]
    assert (refused["reason"], refused["count"]) == ("signature-wrong", 5)
    assert "who knows" not in str(found)
    page = (await web.ask("GET", "/deliveries")).text
    assert refused["message"].replace("'", "&#39;").partition("`")[0] in page
    assert "No delivery has been accepted yet." in page


@pytest.mark.attack(
    "Any number of deliveries without a valid signature",
    profile="stranger",
    result="counted by cause in one row, which is written every ten seconds at most",
)
async def test_refused_ones_cost_few_writes(web: WebHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []
    write = web.harness.store.write

    async def counted(work: Any) -> Any:
        writes.append(work)
        return await write(work)

    log = web.harness.running.control_plane.pull_requests.deliveries
    monkeypatch.setattr(log, "_store", web.harness.store)
    monkeypatch.setattr(web.harness.store, "write", counted)
    for _ in range(50):
        await web.deliver("pull_request", {"action": "opened"}, secret="wrong")
    assert len(writes) <= 1


@pytest.mark.parametrize("role", [None, *Role])
@pytest.mark.parametrize("path", ["/deliveries", "/api/v1/deliveries"])
async def test_only_administrators_see_them(role: Role | None, path: str) -> None:
    users = [BasicAuthentication({"ann": "pass"})]
    roles = Roles({"basic:ann": role} if role is not None else {})
    async with web(authentication=users, roles=roles, applications=[replace(SHOP, owner="acme")]) as opened:
        headers = {} if role is None else basic()
        answer = await opened.client.get(path, headers=headers)

    expected = 401 if role is None else 200 if role is Role.ADMINISTRATOR else 403
    assert answer.status_code == expected
