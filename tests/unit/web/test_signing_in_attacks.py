"""Attacks on signing in. Each is refused, and the answer reveals nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from stager.control.identity.login_flows import MAX_PENDING_PER_ADDRESS
from stager.control.identity.secrets import new_secret
from stager.control.identity.throttle import LIMIT
from stager.domain.identity.access_policy import safe_path
from stager.domain.source import Access
from stager.ports.login import challenge_of
from stager.testing.fakes.login import FakeAccounts
from stager.web.request_body import FORM_LIMIT
from tests.unit.web.harness import HOST, WebHarness, web
from tests.unit.web.test_signing_in import (
    OURS,
    OWNED,
    agree,
    ask_for_url,
    fetch_token,
    off_to_github,
    sign_in,
    state_of,
)

BODY = {"image_name": "shop", "container_name": "x"}
EVIL = {"origin": "https://evil.test"}
SESSION = "stager-session"


@pytest.fixture(name="accounts")
def made_accounts() -> FakeAccounts:
    accounts = FakeAccounts()
    for login in ("octocat", "mallory"):
        accounts.rights[login, "acme/shop"] = Access.WRITE
    return accounts


@pytest.fixture(name="rig")
async def opened(accounts: FakeAccounts) -> AsyncIterator[WebHarness]:
    async with web(applications=[OWNED], accounts=accounts) as opened_site:
        yield opened_site


@pytest.fixture(name="stranger")
async def another_browser(rig: WebHarness) -> AsyncIterator[httpx.AsyncClient]:
    """Another user's browser, at another address."""
    transport = httpx.ASGITransport(rig.app, client=("198.51.100.7", 4321))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
        yield client


class TestState:
    async def test_that_was_never_issued(self, rig: WebHarness) -> None:
        answer = await rig.client.get("/login/github/callback", params={"code": "x", "state": new_secret()})

        assert answer.status_code == 403
        assert "sign-in-state-unknown" in answer.text
        assert SESSION not in rig.client.cookies

    async def test_of_the_attackers_own_in_the_victims_browser(
        self, rig: WebHarness, accounts: FakeAccounts, stranger: httpx.AsyncClient
    ) -> None:
        """Login CSRF: the victim would go on as the attacker."""
        address = (await stranger.get("/login/github")).headers["location"]
        query = {"code": accounts.agree("mallory", address), "state": state_of(address)}

        answer = await rig.client.get("/login/github/callback", params=query)

        assert answer.status_code == 403
        assert SESSION not in rig.client.cookies

    async def test_used_twice(self, rig: WebHarness, accounts: FakeAccounts) -> None:
        address = await off_to_github(rig)
        query = {"code": accounts.agree("octocat", address), "state": state_of(address)}
        kept = dict(rig.client.cookies)
        assert (await rig.client.get("/login/github/callback", params=query)).status_code == 303
        rig.client.cookies.update(kept)
        query["code"] = accounts.agree("octocat", address)

        assert (await rig.client.get("/login/github/callback", params=query)).status_code == 403

    async def test_too_old(self, rig: WebHarness, accounts: FakeAccounts) -> None:
        address = await off_to_github(rig)
        await rig.harness.rest(601)
        query = {"code": accounts.agree("octocat", address), "state": state_of(address)}

        assert (await rig.client.get("/login/github/callback", params=query)).status_code == 403

    async def test_of_a_command_line_used_twice(
        self, rig: WebHarness, accounts: FakeAccounts, stranger: httpx.AsyncClient
    ) -> None:
        """A second browser can't get the page that asks."""
        begun = await ask_for_url(rig, new_secret())
        query = {"code": accounts.agree("octocat", begun["url"]), "state": begun["state"]}
        assert (await rig.client.get("/event_receiver", params=query)).status_code == 200
        query["code"] = accounts.agree("mallory", begun["url"])

        assert (await stranger.get("/event_receiver", params=query)).status_code == 403


class TestCode:
    async def test_intercepted_it_is_worth_nothing(
        self, rig: WebHarness, accounts: FakeAccounts, stranger: httpx.AsyncClient
    ) -> None:
        """Another sign-in's code comes with another challenge."""
        code = accounts.agree("octocat", await off_to_github(rig))
        theirs = (await stranger.get("/login/github")).headers["location"]

        answer = await stranger.get(
            "/login/github/callback", params={"code": code, "state": state_of(theirs)}
        )

        assert answer.status_code == 403
        assert SESSION not in stranger.cookies

    async def test_with_a_refusal_it_counts_for_nothing(
        self, rig: WebHarness, accounts: FakeAccounts
    ) -> None:
        address = await off_to_github(rig)
        query = {"code": accounts.agree("octocat", address), "state": state_of(address)}

        answer = await rig.client.get("/login/github/callback", params=query | {"error": "access_denied"})

        assert answer.status_code == 403
        assert "sign-in-denied" in answer.text


class TestToken:
    async def begun(self, rig: WebHarness, accounts: FakeAccounts, verifier: str) -> str:
        begun = await ask_for_url(rig, verifier)
        query = {"code": accounts.agree("octocat", begun["url"]), "state": begun["state"]}
        await rig.client.get("/event_receiver", params=query)
        return begun["state"]

    @pytest.mark.parametrize("verifier", ["", "x", "x" * 43, "\0" * 43, "é" * 43, "x" * 5000])
    async def test_is_bound_to_the_session_that_began(
        self, rig: WebHarness, accounts: FakeAccounts, verifier: str
    ) -> None:
        """The state alone is no proof: the browser and GitHub have seen it."""
        own = new_secret()
        state = await self.begun(rig, accounts, own)
        await agree(rig, state)

        assert (await fetch_token(rig, state, verifier)).status_code == 403
        assert (await fetch_token(rig, state, own)).status_code == 200, "which the wrong guess didn't spoil"

    async def test_isnt_accepted_by_get(self, rig: WebHarness, accounts: FakeAccounts) -> None:
        own = new_secret()
        state = await self.begun(rig, accounts, own)
        await agree(rig, state)
        query = {"action": "get_oauth_token", "state": state, "verifier": own}

        assert (await rig.client.get("/event_receiver", params=query)).status_code == 405

    async def test_needs_the_victims_word(
        self, rig: WebHarness, accounts: FakeAccounts, stranger: httpx.AsyncClient
    ) -> None:
        """An attacker begins, and sends the victim the link: GitHub may not even ask them again."""
        own = new_secret()
        query = {"action": "get_oauth_url", "challenge": challenge_of(own)}
        begun = (await stranger.get("/event_receiver", params=query)).json()
        back = {"code": accounts.agree("octocat", begun["url"]), "state": begun["state"]}
        page = await rig.client.get("/event_receiver", params=back)
        form = {"action": "get_oauth_token", "state": begun["state"], "verifier": own}

        assert "198.51.100.7" in page.text, "the victim sees who asks"
        assert (await stranger.post("/event_receiver", data=form)).status_code == 202
        yes = {"state": begun["state"], "answer": "yes"}
        assert (await stranger.post("/login/authorize", data=yes, headers=OURS)).status_code == 410
        assert (await rig.client.post("/login/authorize", data=yes, headers=EVIL)).status_code == 403
        assert (await rig.client.post("/login/authorize", data=yes)).status_code == 403
        assert (await stranger.post("/event_receiver", data=form)).status_code == 202
        await agree(rig, begun["state"], "no")
        assert (await stranger.post("/event_receiver", data=form)).status_code == 410

    @pytest.mark.parametrize("challenge", ["", "plain", "x" * 44, "=" * 43])
    async def test_isnt_issued_without_a_challenge(self, rig: WebHarness, challenge: str) -> None:
        query = {"action": "get_oauth_url", "challenge": challenge}

        assert (await rig.client.get("/event_receiver", params=query)).status_code == 400

    async def test_of_a_sign_in_to_pages_cant_be_fetched(
        self, rig: WebHarness, accounts: FakeAccounts
    ) -> None:
        address = await off_to_github(rig)

        assert (await fetch_token(rig, state_of(address), new_secret())).status_code == 410

    async def test_of_github_is_neither_returned_nor_stored(
        self, rig: WebHarness, accounts: FakeAccounts
    ) -> None:
        own = new_secret()
        state = await self.begun(rig, accounts, own)
        await agree(rig, state)
        token = (await fetch_token(rig, state, own)).json()["token"]

        assert token not in accounts.tokens
        kept = await rig.harness.store.read(lambda tx: tx.sessions())
        assert not any(secret in repr(kept) for secret in accounts.tokens)


class TestForms:
    @pytest.mark.parametrize("headers", [EVIL, {"origin": "null"}, {"origin": "http://x.preview.test"}, {}])
    @pytest.mark.parametrize(
        "path",
        [
            "/api/v1/environments",
            "/launch",
            "/logout",
            "/login",
            "/account/tokens",
            "/account/sessions/end",
            "/login/authorize",
        ],
    )
    async def test_of_other_sites_do_nothing_by_the_cookie(
        self, rig: WebHarness, accounts: FakeAccounts, path: str, headers: dict[str, str]
    ) -> None:
        await sign_in(rig, accounts)
        how = {"json": BODY} if path.startswith("/api") else {"data": BODY}

        answer = await rig.client.post(path, headers=headers, **how)  # type: ignore[arg-type]

        assert answer.status_code in {401, 403}
        assert await rig.harness.environments() == []
        assert (await rig.client.get("/account")).status_code == 200, "still signed in"

    async def test_of_ours_do(self, rig: WebHarness, accounts: FakeAccounts) -> None:
        await sign_in(rig, accounts)
        for headers in (OURS, {"sec-fetch-site": "same-origin"}):
            assert (await rig.client.post("/launch", data=BODY, headers=headers)).status_code == 200


class TestCookie:
    async def test_put_there_before_isnt_the_one_afterwards(
        self, rig: WebHarness, accounts: FakeAccounts, stranger: httpx.AsyncClient
    ) -> None:
        """Session fixation."""
        await sign_in(rig, accounts, "mallory")
        known = rig.client.cookies[SESSION]
        await sign_in(rig, accounts)

        assert rig.client.cookies[SESSION] != known
        stranger.cookies.set(SESSION, known)
        assert (await stranger.get("/account")).status_code == 401, "and the one before is over"

    async def test_beside_another_of_its_name_is_none(self, rig: WebHarness, accounts: FakeAccounts) -> None:
        """A preview's host has set one for the whole domain."""
        await sign_in(rig, accounts)
        secret = rig.client.cookies[SESSION]
        rig.client.cookies.clear()

        two = {"cookie": f"{SESSION}=tossed; {SESSION}={secret}"}
        assert (await rig.client.get("/account", headers=two)).status_code == 401
        assert (
            await rig.client.get("/account", headers={"cookie": f"{SESSION}={secret}"})
        ).status_code == 200

    async def test_is_for_us_alone(self, accounts: FakeAccounts) -> None:
        async with web(applications=[OWNED], accounts=accounts, scheme="https") as rig:
            cookie = (await sign_in(rig, accounts)).headers["set-cookie"].lower()

            assert cookie.startswith("__host-stager-session=")
            for attribute in ("; secure", "; httponly", "; samesite=lax", "; path=/"):
                assert attribute in cookie
            assert "domain=" not in cookie

    async def test_under_its_plain_name_is_none_over_https(self, accounts: FakeAccounts) -> None:
        async with web(applications=[OWNED], accounts=accounts, scheme="https") as rig:
            await sign_in(rig, accounts)
            secret = rig.client.cookies[f"__Host-{SESSION}"]
            rig.client.cookies.clear()

            headers = {"cookie": f"{SESSION}={secret}"}
            assert (await rig.client.get("/account", headers=headers)).status_code == 401

    async def test_is_no_bearers_token(self, rig: WebHarness, accounts: FakeAccounts) -> None:
        await sign_in(rig, accounts)
        bearer = {"authorization": f"Bearer {rig.client.cookies[SESSION]}"}
        rig.client.cookies.clear()

        assert (await rig.client.get("/account", headers=bearer)).status_code == 401


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.test/",
        "//evil.test/",
        "/\\evil.test/",
        "\\\\evil.test",
        "/\t/evil.test",
        "javascript:alert(1)",
        "/%0d%0aset-cookie:x\r\nx",
        "http:evil",
        "///evil.test",
        "evil.test",
        " //evil.test",
        "http://[",
        "/" + "x" * 5000,
        "/é",
    ],
)
async def test_no_redirect_leads_elsewhere_afterwards(
    rig: WebHarness, accounts: FakeAccounts, to: str
) -> None:
    assert safe_path(to) == "/"
    assert (await sign_in(rig, accounts, to=to)).headers["location"] == "/"
    assert (await rig.client.get("/login", params={"to": to})).headers["location"] == "/"


@pytest.mark.parametrize("header", ["host", "x-forwarded-host", "forwarded"])
async def test_a_false_host_header_leads_nowhere(rig: WebHarness, header: str) -> None:
    lies = {header: "host=evil.test" if header == "forwarded" else "evil.test"}
    query = {"action": "get_oauth_url", "challenge": challenge_of(new_secret())}
    answers = [
        (await rig.client.get("/login/github", headers=lies)).headers["location"],
        (await rig.client.get("/event_receiver", params=query, headers=lies)).json()["url"],
    ]

    assert all("evil" not in address for address in answers)
    assert all("redirect_uri=http://preview.test/login/github/callback" in address for address in answers)


class TestPasswords:
    async def test_reveal_no_user_names(self, rig: WebHarness) -> None:
        answers = [
            await rig.client.post("/login", data={"user": user, "password": "no"}, headers=OURS)
            for user in ("ann", "bob")
        ]

        assert {answer.status_code for answer in answers} == {401}
        assert answers[0].text.replace("ann", "bob") == answers[1].text

    async def test_cant_be_tried_one_after_another(
        self, rig: WebHarness, stranger: httpx.AsyncClient
    ) -> None:
        form = {"user": "ann", "password": "no"}
        for _ in range(LIMIT):
            assert (await stranger.post("/login", data=form, headers=OURS)).status_code == 401
        form["password"] = "pass"

        assert (await stranger.post("/login", data=form, headers=OURS)).status_code == 429
        assert (await rig.client.post("/login", data=form, headers=OURS)).status_code == 303, (
            "ann isn't locked out"
        )

    async def test_a_token_isnt_for_signing_in(self, rig: WebHarness, accounts: FakeAccounts) -> None:
        await sign_in(rig, accounts)
        page = await rig.client.post("/account/tokens", data={"label": "x"}, headers=OURS)
        token = page.text.partition('class="secret">')[2].partition("<")[0]
        assert token.startswith("stager_")
        rig.client.cookies.clear()

        form = {"user": "x", "password": token}
        assert (await rig.client.post("/login", data=form, headers=OURS)).status_code in {401, 403}

    async def test_that_are_no_tokens_of_github_arent_sent_there(
        self, rig: WebHarness, accounts: FakeAccounts
    ) -> None:
        form = {"user": "ann", "password": "my-other-password"}
        await rig.client.post("/login", data=form, headers=OURS)

        assert accounts.asked == 0


class TestFlood:
    async def test_of_sign_ins_from_one_address(self, rig: WebHarness, stranger: httpx.AsyncClient) -> None:
        for _ in range(MAX_PENDING_PER_ADDRESS):
            assert (await stranger.get("/login/github")).status_code == 303
        assert (await stranger.get("/login/github")).status_code == 429
        assert (await rig.client.get("/login/github")).status_code == 303

    async def test_of_text(self, rig: WebHarness) -> None:
        form = {"user": "x" * 301, "password": "x"}
        assert (await rig.client.post("/login", data=form, headers=OURS)).status_code == 422
        large = {"user": "x", "password": "x" * (FORM_LIMIT + 1)}
        assert (await rig.client.post("/login", data=large, headers=OURS)).status_code in {400, 413}
        query = {"code": "x" * 10_000, "state": "x" * 10_000}
        assert (await rig.client.get("/login/github/callback", params=query)).status_code == 403

    async def test_of_questions_in_the_device_flow_stays_here(
        self, rig: WebHarness, accounts: FakeAccounts
    ) -> None:
        begun = (await rig.client.post("/api/v1/login/device")).json()
        await rig.harness.rest(6)
        answers = [
            await rig.client.post("/api/v1/login/device/poll", json={"handle": begun["handle"]})
            for _ in range(5)
        ]

        assert {answer.status_code for answer in answers} == {202}
        assert accounts.polled == 1


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x>'])
async def test_what_strangers_say_is_text_on_our_pages(rig: WebHarness, name: str) -> None:
    form = {"user": name, "password": "no", "to": name}
    page = (await rig.client.post("/login", data=form, headers=OURS)).text
    failed = await rig.client.get("/login/github/callback", params={"state": name, "error": name})

    assert name not in page
    assert name not in failed.text
