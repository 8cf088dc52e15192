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


async def test_content_isnt_listed(web: WebHarness) -> None:
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
    assert page.count("&lt;script&gt;") == 3


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


async def launched(opened: WebHarness) -> str:
    """A pull request whose delivery launched a preview. Returns the delivery's id."""
    await opened_in(opened, "shop")
    found: str = (await listed(opened))["deliveries"][0]["id"]
    return found


class TestOne:
    async def test_shows_chosen_fields(self, web: WebHarness) -> None:
        delivery = await launched(web)
        found = (await web.ask("GET", f"/api/v1/deliveries/{delivery}")).json()

        assert found["summary"]["repository.full_name"] == "acme/shop"
        assert (found["effect"], found["replayable"], found["replay_of"]) == ("done", True, None)
        page = (await web.ask("GET", f"/deliveries/{delivery}")).text
        assert "pull_request.head.sha" in page
        assert "Replay delivery" in page

    async def test_an_unknown_one(self, web: WebHarness) -> None:
        for path in ("/api/v1/deliveries/none", "/deliveries/none"):
            assert (await web.ask("GET", path)).status_code == 404
        answer = await web.ask("POST", "/api/v1/deliveries/none/replay")
        assert (answer.status_code, answer.json()["reason"]) == (404, "delivery-unknown")


class TestReplay:
    async def test_is_a_new_delivery_that_names_the_old_one(self, web: WebHarness) -> None:
        delivery = await launched(web)
        answer = await web.ask("POST", f"/api/v1/deliveries/{delivery}/replay")
        assert answer.status_code == 202
        await web.harness.rest(30)

        newest, before = (await listed(web))["deliveries"]
        assert newest["id"] == answer.json()["id"]
        assert (newest["replay_of"], before["id"]) == (delivery, delivery)
        assert newest["outcome"] in ("nothing new", "launched")
        [audited] = [
            one
            for one in (await web.ask("GET", "/api/v1/audit")).json()
            if one["action"] == "replay-deliveries"
        ]
        assert (audited["subject"], audited["result"]) == (delivery, "done")

    async def test_of_a_replay_names_the_first_one(self, web: WebHarness) -> None:
        delivery = await launched(web)
        first = (await web.ask("POST", f"/api/v1/deliveries/{delivery}/replay")).json()["id"]
        await web.harness.rest(30)
        second = (await web.ask("POST", f"/api/v1/deliveries/{first}/replay")).json()["id"]

        assert second != first
        assert second.startswith(f"{delivery}~replay-")

    async def test_twice_at_once_is_one(self, web: WebHarness) -> None:
        delivery = await launched(web)
        for _ in range(2):
            await web.ask("POST", f"/api/v1/deliveries/{delivery}/replay")

        assert len((await listed(web))["deliveries"]) == 2

    async def test_from_another_site_is_refused(self, web: WebHarness) -> None:
        delivery = await launched(web)
        headers = {"origin": "https://evil.example"}
        answer = await web.ask("POST", f"/deliveries/{delivery}/replay", headers=headers)

        assert answer.status_code == 403
        assert len((await listed(web))["deliveries"]) == 1

    async def test_without_its_content_or_before_its_end(self, web: WebHarness) -> None:
        store, now = web.harness.store, web.harness.running.clock.now()
        long = Delivery("long", "github", "ping", "x" * 100_001)
        waiting = Delivery("waiting", "github", "ping", "{}")
        await store.write(lambda tx: tx.add_delivery(long, now))
        await store.write(lambda tx: tx.finish_delivery(long, "ignored: x", now))
        await store.write(lambda tx: tx.add_delivery(waiting, now))

        for one, reason in ((long, "delivery-not-kept"), (waiting, "delivery-unfinished")):
            answer = await web.ask("POST", f"/api/v1/deliveries/{one.id}/replay")
            assert (answer.status_code, answer.json()["reason"]) == (409, reason)


class TestTwoForges:
    """Each forge chooses the ids of its deliveries."""

    @pytest.fixture
    async def both(self, web: WebHarness) -> WebHarness:
        store, now = web.harness.store, web.harness.running.clock.now()
        for forge in ("github", "local"):
            one = Delivery("same", forge, f"ping-{forge}", "{}")
            await store.write(lambda tx, d=one: tx.add_delivery(d, now))  # type: ignore[misc]
            await store.write(lambda tx, d=one: tx.finish_delivery(d, "ignored: x", now))  # type: ignore[misc]
        return web

    async def test_the_forge_must_be_named(self, both: WebHarness) -> None:
        for method, path in (("GET", "/api/v1/deliveries/same"), ("POST", "/api/v1/deliveries/same/replay")):
            answer = await both.ask(method, path)
            assert (answer.status_code, answer.json()["reason"]) == (409, "delivery-ambiguous")
            assert "local or github" in answer.json()["detail"]

    @pytest.mark.parametrize("forge", ["github", "local"])
    async def test_each_has_its_own_page_and_replay(self, both: WebHarness, forge: str) -> None:
        listed_page = (await both.ask("GET", "/deliveries")).text
        assert f'href="/deliveries/same?forge={forge}"' in listed_page
        page = (await both.ask("GET", f"/deliveries/same?forge={forge}")).text
        assert f"ping-{forge}" in page
        assert f'action="/deliveries/same/replay?forge={forge}"' in page

        await both.ask("POST", f"/api/v1/deliveries/same/replay?forge={forge}")
        newest = (await listed(both))["deliveries"][0]
        assert (newest["forge"], newest["replay_of"]) == (forge, "same")

    async def test_another_forge(self, both: WebHarness) -> None:
        answer = await both.ask("GET", "/api/v1/deliveries/same?forge=none")
        assert (answer.status_code, answer.json()["reason"]) == (404, "delivery-unknown")


class TestSearch:
    async def test_by_text_and_effect(self, web: WebHarness) -> None:
        await opened_in(web, "shop")
        await opened_in(web, "unknown")
        for query, about in (({"q": "SHOP#"}, "acme/shop"), ({"effect": "none"}, "acme/unknown")):
            answer = await web.ask("GET", "/api/v1/deliveries", params=query)
            [found] = answer.json()["deliveries"]
            assert found["about"].startswith(about)
            page = (await web.ask("GET", "/deliveries", params=query)).text
            assert f"{about}#" in page

    async def test_an_unknown_effect_shows_all(self, web: WebHarness) -> None:
        await opened_in(web, "shop")

        assert "acme/shop#" in (await web.ask("GET", "/deliveries?effect=odd")).text
