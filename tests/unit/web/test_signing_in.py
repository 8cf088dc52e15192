"""Signing in, as a browser and a command line see it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from stager.control.identity.login_flows import MAX_INTERVAL
from stager.control.identity.secrets import new_secret
from stager.domain.source import Access
from stager.ports.login import Pending, challenge_of
from stager.testing.fakes.faults import FaultMode
from stager.testing.fakes.login import FakeAccounts
from tests.unit.control.harness import SHOP
from tests.unit.web.harness import HOST, WebHarness, basic, web

OWNED = replace(SHOP, owner="acme")
OURS = {"origin": f"http://{HOST}"}


@pytest.fixture(name="accounts")
def made_accounts() -> FakeAccounts:
    accounts = FakeAccounts()
    accounts.rights["octocat", "acme/shop"] = Access.WRITE
    accounts.rights["reader", "acme/shop"] = Access.READ
    return accounts


@pytest.fixture(name="rig")
async def opened(accounts: FakeAccounts) -> AsyncIterator[WebHarness]:
    async with web(applications=[OWNED], accounts=accounts) as opened_site:
        yield opened_site


async def off_to_github(rig: WebHarness, **query: str) -> str:
    """The address at GitHub that a browser is sent to."""
    answer = await rig.client.get("/login/github", params=query)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def state_of(address: str) -> str:
    [state] = parse_qs(urlsplit(address).query)["state"]
    return state


async def sign_in(
    rig: WebHarness, accounts: FakeAccounts, login: str = "octocat", to: str = "/"
) -> httpx.Response:
    """A browser signs in, and comes back."""
    address = await off_to_github(rig, to=to)
    code = accounts.agree(login, address)
    query = {"code": code, "state": state_of(address)}
    return await rig.client.get("/login/github/callback", params=query)


async def ask_for_url(rig: WebHarness, verifier: str) -> dict[str, str]:
    """A command line begins."""
    query = {"action": "get_oauth_url", "challenge": challenge_of(verifier)}
    answer = await rig.client.get("/event_receiver", params=query)
    assert answer.status_code == 200, answer.text
    begun: dict[str, str] = answer.json()
    return begun


async def fetch_token(rig: WebHarness, state: str, verifier: str) -> httpx.Response:
    form = {"action": "get_oauth_token", "state": state, "verifier": verifier}
    return await rig.client.post("/event_receiver", data=form)


async def agree(rig: WebHarness, state: str, answer: str = "yes") -> httpx.Response:
    return await rig.client.post("/login/authorize", data={"state": state, "answer": answer}, headers=OURS)


class TestBrowser:
    async def test_comes_back_signed_in(self, rig: WebHarness, accounts: FakeAccounts) -> None:
        answer = await sign_in(rig, accounts, to="/account?x=1")

        assert (answer.status_code, answer.headers["location"]) == (303, "/account?x=1")
        page = await rig.client.get("/account")
        assert page.status_code == 200
        assert "octocat" in page.text
        assert re.search(r"<td>shop</td><td>developer</td>", page.text)

    async def test_may_use_the_api_from_our_pages(self, rig: WebHarness, accounts: FakeAccounts) -> None:
        await sign_in(rig, accounts)
        body = {"image_name": "shop", "container_name": "x"}

        answer = await rig.client.post("/api/v1/environments", json=body, headers=OURS)

        assert answer.status_code == 202, answer.text

    async def test_may_look_and_nothing_else_who_can_only_read(
        self, rig: WebHarness, accounts: FakeAccounts
    ) -> None:
        await sign_in(rig, accounts, "reader")
        body = {"image_name": "shop", "container_name": "x"}

        assert (await rig.client.get("/api/v1/environments")).status_code == 200
        assert (await rig.client.post("/api/v1/environments", json=body, headers=OURS)).status_code == 403

    async def test_signs_in_with_a_password(self, rig: WebHarness) -> None:
        form = {"user": "ann", "password": "pass", "to": "/account"}
        answer = await rig.client.post("/login", data=form, headers=OURS)

        assert (answer.status_code, answer.headers["location"]) == (303, "/account")
        assert "BasicAuthentication" in (await rig.client.get("/account")).text

    async def test_signs_out(self, rig: WebHarness, accounts: FakeAccounts) -> None:
        await sign_in(rig, accounts)
        kept = dict(rig.client.cookies)
        await rig.client.post("/logout", headers=OURS)

        assert "stager-session" not in rig.client.cookies
        rig.client.cookies.update(kept)
        assert (await rig.client.get("/account")).status_code == 401, "the secret opens nothing any more"

    async def test_is_redirected_to_sign_in_from_a_page_that_requires_it(self, rig: WebHarness) -> None:
        answer = await rig.client.get("/account?a=b", headers={"accept": "text/html"})

        assert (answer.status_code, answer.headers["location"]) == (303, "/login?to=%2Faccount%3Fa%3Db")

    async def test_gets_the_ways_to_sign_in(self, rig: WebHarness) -> None:
        page = (await rig.client.get("/login?to=/account")).text

        assert 'href="/login/github?to=%2Faccount"' in page
        assert 'name="password"' in page

    async def test_needs_no_second_sign_in(self, rig: WebHarness, accounts: FakeAccounts) -> None:
        await sign_in(rig, accounts)

        assert (await rig.client.get("/login?to=/account")).headers["location"] == "/account"


class TestCommandLine:
    async def test_gets_a_token_after_the_approval(self, rig: WebHarness, accounts: FakeAccounts) -> None:
        verifier = new_secret()
        begun = await ask_for_url(rig, verifier)
        assert begun["url"].startswith("https://forge.test/authorize")
        assert (await fetch_token(rig, begun["state"], verifier)).status_code == 202

        code = accounts.agree("octocat", begun["url"])
        page = await rig.client.get("/event_receiver", params={"code": code, "state": begun["state"]})
        assert page.status_code == 200
        assert "192.0.2.1" in page.text, "whoever asks is shown"
        assert (await fetch_token(rig, begun["state"], verifier)).status_code == 202, "nobody agreed yet"

        done = await agree(rig, begun["state"])
        assert "The command line is signed in" in done.text
        assert "octocat" in done.text

        answer = await fetch_token(rig, begun["state"], verifier)
        assert (answer.status_code, answer.json()["login"]) == (200, "octocat")
        assert (await fetch_token(rig, begun["state"], verifier)).status_code == 410, "once"
        bearer = {"authorization": f"Bearer {answer.json()['token']}"}
        assert (await rig.client.get("/api/v1/environments", headers=bearer)).status_code == 200

    async def test_its_token_launches_as_the_walkthrough_has_it(
        self, rig: WebHarness, accounts: FakeAccounts
    ) -> None:
        token = accounts.token("octocat")
        form = {"image_name": "shop", "container_name": "x", "github_token": token}

        answer = await rig.client.post("/launch", data=form)

        assert answer.status_code == 200, answer.text
        [instance] = rig.harness.engine.there()
        assert token not in str(rig.harness.engine.spec(instance.id))

    async def test_without_a_browser(self, rig: WebHarness, accounts: FakeAccounts) -> None:
        begun = (await rig.client.post("/api/v1/login/device")).json()
        poll = {"handle": begun["handle"]}
        assert begun["verification_uri"] == "https://forge.test/device"
        early = await rig.client.post("/api/v1/login/device/poll", json=poll)
        assert (early.status_code, early.json()["interval"]) == (202, 5.0)

        accounts.agreed[begun["user_code"]] = "octocat"
        await rig.harness.rest(10)
        answer = await rig.client.post("/api/v1/login/device/poll", json=poll)

        assert (answer.status_code, answer.json()["login"]) == (200, "octocat")
        bearer = {"authorization": f"Bearer {answer.json()['token']}"}
        assert (await rig.client.get("/account", headers=bearer)).status_code == 200
        assert (await rig.client.post("/api/v1/login/device/poll", json=poll)).status_code == 410

    @pytest.mark.parametrize(
        ("waits", "intervals"),
        [
            ([Pending(0.0)], [5.0]),
            ([Pending(12.0), Pending(0.0)], [12.0, 12.0]),
            ([Pending(0.0, slower_by=5.0), Pending(0.0, slower_by=5.0), Pending(0.0)], [10.0, 15.0, 15.0]),
            ([Pending(3.0)], [5.0]),
            ([Pending(1e15), Pending(0.0, slower_by=5.0)], [MAX_INTERVAL, MAX_INTERVAL]),
        ],
    )
    async def test_slow_down_of_a_provider_lengthens_the_interval(
        self, rig: WebHarness, accounts: FakeAccounts, waits: list[Pending], intervals: list[float]
    ) -> None:
        begun = (await rig.client.post("/api/v1/login/device")).json()
        accounts.waits = waits
        told, interval = [], begun["interval"]
        for _ in intervals:
            await asyncio.sleep(interval - 1)
            asked = accounts.polled
            early = await self._poll(rig, begun)
            assert (early.status_code, early.json()["interval"], accounts.polled) == (202, 1.0, asked)
            await asyncio.sleep(1)
            answer = await self._poll(rig, begun)
            assert (answer.status_code, accounts.polled) == (202, asked + 1)
            interval = answer.json()["interval"]
            told.append(interval)
        assert told == intervals

    async def test_a_provider_that_is_away_for_a_moment_ends_nothing(
        self, rig: WebHarness, accounts: FakeAccounts
    ) -> None:
        begun = (await rig.client.post("/api/v1/login/device")).json()
        accounts.agreed[begun["user_code"]] = "octocat"
        await asyncio.sleep(5)
        accounts.fault_mode = FaultMode.NEVER
        assert (await self._poll(rig, begun)).status_code == 503

        accounts.fault_mode = FaultMode.WELL
        assert (await self._poll(rig, begun)).status_code == 202, "too early"
        await asyncio.sleep(5)
        assert (await self._poll(rig, begun)).json()["login"] == "octocat"

    @staticmethod
    async def _poll(rig: WebHarness, begun: dict[str, str]) -> httpx.Response:
        return await rig.client.post("/api/v1/login/device/poll", json={"handle": begun["handle"]})

    async def test_without_a_browser_and_without_consent(
        self, rig: WebHarness, accounts: FakeAccounts
    ) -> None:
        begun = (await rig.client.post("/api/v1/login/device")).json()
        accounts.agreed[begun["user_code"]] = None
        await rig.harness.rest(10)
        answer = await rig.client.post("/api/v1/login/device/poll", json={"handle": begun["handle"]})

        assert (answer.status_code, answer.json()["reason"]) == (403, "sign-in-denied")


async def test_a_session_ends_itself_and_no_other(rig: WebHarness, accounts: FakeAccounts) -> None:
    tokens = []
    for _ in range(2):
        begun = (await rig.client.post("/api/v1/login/device")).json()
        accounts.agreed[begun["user_code"]] = "octocat"
        await rig.harness.rest(10)
        answer = await rig.client.post("/api/v1/login/device/poll", json={"handle": begun["handle"]})
        tokens.append({"authorization": f"Bearer {answer.json()['token']}"})
    assert (await rig.client.delete("/api/v1/session", headers=tokens[0])).status_code == 204

    known = [await rig.client.get("/api/v1/whoami", headers=headers) for headers in tokens]
    assert [answer.status_code for answer in known] == [401, 200]
    assert (await rig.client.delete("/api/v1/session", headers=tokens[0])).status_code == 401
    own = {"authorization": f"Bearer {accounts.token('octocat')}"}
    for headers in (own, basic()):
        assert (await rig.client.delete("/api/v1/session", headers=headers)).status_code == 404


async def test_what_is_ended_is_the_session_that_counts(rig: WebHarness, accounts: FakeAccounts) -> None:
    """A browser's, where a request has one and a command line's token as well."""
    begun = (await rig.client.post("/api/v1/login/device")).json()
    accounts.agreed[begun["user_code"]] = "octocat"
    await rig.harness.rest(10)
    answer = await rig.client.post("/api/v1/login/device/poll", json={"handle": begun["handle"]})
    bearer = {"authorization": f"Bearer {answer.json()['token']}"}
    await sign_in(rig, accounts)

    assert (await rig.client.delete("/api/v1/session", headers=bearer | OURS)).status_code == 204
    assert (await rig.client.get("/account")).status_code == 401
    assert (await rig.client.get("/api/v1/whoami", headers=bearer)).status_code == 200


async def test_a_page_ends_its_own_session_and_no_other_page_does(
    rig: WebHarness, accounts: FakeAccounts
) -> None:
    await sign_in(rig, accounts)
    assert (await rig.client.delete("/api/v1/session")).status_code == 401
    foreign = {"origin": "http://evil.test"}
    assert (await rig.client.delete("/api/v1/session", headers=foreign)).status_code in (401, 403)
    assert (await rig.client.delete("/api/v1/session", headers=OURS)).status_code == 204
    assert (await rig.client.get("/account")).status_code == 401


async def test_basic_still_works_beside_it(rig: WebHarness) -> None:
    assert (await rig.client.get("/api/v1/environments", headers=basic())).status_code == 200


async def test_what_happened_is_written_down(rig: WebHarness, accounts: FakeAccounts) -> None:
    await sign_in(rig, accounts)
    await rig.client.post("/login", data={"user": "ann", "password": "no"}, headers=OURS)
    await rig.client.post("/logout", headers=OURS)

    entries = await rig.harness.running.control_plane.identity.audit.entries(limit=10)
    told = {(e.action, e.actor, e.result, e.address) for e in entries}
    assert told == {
        ("sign-in", "octocat (GithubAuthentication)", "done", "192.0.2.1"),
        ("sign-in", "anonymous (sign-in)", "refused", "192.0.2.1"),
        ("sign-out", "octocat (GithubAuthentication)", "done", ""),
    }
    assert len(entries) == 3
