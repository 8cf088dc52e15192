"""Connecting GitHub from Stager's own page: a redirect there and back never changes the user."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from stager.domain.identity.actor import Actor
from stager.testing.fakes.setup import CODE
from stager.web.auth.oauth_state import LIFETIME, MAX_STATES, OAuthStates
from tests.unit.web.harness import WebHarness, basic, web

ANN, BOB = Actor("ann", "basic"), Actor("bob", "basic")


async def begin(web: WebHarness, **query: str) -> httpx.Response:
    answer = await web.ask("GET", "/setup/github", params=query)
    assert answer.status_code == 200, answer.text
    return answer


def state_of(answer: httpx.Response) -> str:
    [target] = re.findall(r'<form method="post" action="([^"]*)"', answer.text)
    [state] = parse_qs(urlsplit(html.unescape(target)).query)["state"]
    return state


async def come_back(web: WebHarness, state: str, code: str = CODE, **how: object) -> httpx.Response:
    return await web.ask("GET", "/setup/github/callback", params={"code": code, "state": state}, **how)


class TestPage:
    async def test_is_for_those_who_are_known(self, web: WebHarness) -> None:
        answer = await web.client.get("/setup/github")

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert web.setup.proposed == []

    async def test_brings_the_proposal_to_the_forge(self, web: WebHarness) -> None:
        answer = await begin(web)
        [(home, organization, state)] = web.setup.proposed

        assert (home, organization) == ("http://preview.test", "")
        assert state == state_of(answer)
        assert len(state) >= 32
        assert f"https://forge.test/me/new?state={state}" in answer.text
        [manifest] = re.findall(r'name="manifest" value="([^"]*)"', answer.text)
        assert html.unescape(manifest) == '{"url": "http://preview.test"}'

    async def test_for_an_organization(self, web: WebHarness) -> None:
        answer = await begin(web, organization=" acme ")

        assert web.setup.proposed[0][1] == "acme"
        assert "https://forge.test/acme/new" in answer.text

    async def test_an_organization_that_is_none(self, web: WebHarness) -> None:
        answer = await web.ask("GET", "/setup/github", params={"organization": "none"})

        assert answer.status_code == 400
        assert "There is no such organization." in answer.text

    async def test_request_parameters_are_escaped(self, web: WebHarness) -> None:
        answer = await begin(web, organization='"><script>alert(1)</script>')

        assert "<script>" not in answer.text

    async def test_says_when_deliveries_cant_come(self, web: WebHarness) -> None:
        assert "gets no webhooks" in (await begin(web)).text

    async def test_says_when_the_configuration_counts(self, web: WebHarness) -> None:
        assert "github.app_id" not in (await begin(web)).text
        web.setup.overridden = True
        assert "github.app_id" in (await begin(web)).text

    async def test_its_form_leads_to_the_forge_and_nowhere_else(self, web: WebHarness) -> None:
        policy = (await begin(web)).headers["content-security-policy"]

        assert "form-action 'self' https://forge.test;" in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        home = (await web.client.get("/")).headers["content-security-policy"]
        assert "form-action 'self';" in home

    async def test_its_cookie_is_private(self, web: WebHarness) -> None:
        cookie = (await begin(web)).headers["set-cookie"]

        for attribute in ("HttpOnly", "SameSite=lax", "Path=/setup/github"):
            assert attribute in cookie
        assert "Domain" not in cookie
        assert "Secure" not in cookie, "this site has no HTTPS"

    async def test_without_a_forge_there_is_nothing_to_connect(self) -> None:
        async with web() as opened:
            opened.app.state.web = replace(opened.app.state.web, setup=None)
            answer = await opened.ask("GET", "/setup/github")

            assert answer.status_code == 404


class TestComingBack:
    async def test_the_app_is_ours(self, web: WebHarness) -> None:
        answer = await come_back(web, state_of(await begin(web)))

        assert answer.status_code == 303
        assert web.setup.app is not None
        page = await web.ask("GET", answer.headers["location"])
        assert "GitHub is connected" in page.text
        assert web.setup.app.install_url in page.text
        assert "estart" not in page.text

    async def test_an_app_that_the_configuration_overrides_isnt_in_use(self, web: WebHarness) -> None:
        web.setup.overridden = True
        answer = await come_back(web, state_of(await begin(web)))

        page = await web.ask("GET", answer.headers["location"])
        assert "The GitHub App was created" in page.text
        assert "takes precedence" in page.text

    @pytest.mark.parametrize("state", ["", "guessed"])
    async def test_a_state_that_we_didnt_give(self, web: WebHarness, state: str) -> None:
        await begin(web)
        answer = await come_back(web, state)

        assert answer.status_code == 403
        assert "setup-state-unknown" in answer.text
        assert web.setup.app is None

    async def test_a_state_is_good_once(self, web: WebHarness) -> None:
        state = state_of(await begin(web))
        await come_back(web, state, code="bad")

        assert (await come_back(web, state)).status_code == 403
        assert web.setup.app is None

    async def test_in_another_browser(self, web: WebHarness) -> None:
        """Or an attacker's link would make his App ours."""
        state = state_of(await begin(web))
        web.client.cookies.clear()

        assert (await come_back(web, state)).status_code == 403
        await begin(web)
        assert (await come_back(web, state)).status_code == 403
        assert web.setup.app is None

    async def test_as_another_user(self) -> None:
        async with web(users={"ann": "pass", "bob": "word"}) as opened:
            state = state_of(await begin(opened))
            answer = await come_back(opened, state, headers=basic("bob", "word"))

            assert answer.status_code == 403
            assert opened.setup.app is None

    async def test_without_credentials(self, web: WebHarness) -> None:
        state = state_of(await begin(web))
        answer = await web.client.get("/setup/github/callback", params={"code": CODE, "state": state})

        assert answer.status_code == 401
        assert (await come_back(web, state)).status_code == 303, "it is still good"

    async def test_two_pages_of_one_browser(self, web: WebHarness) -> None:
        first, second = state_of(await begin(web)), state_of(await begin(web))

        assert first != second
        assert (await come_back(web, first)).status_code == 303
        assert (await come_back(web, second)).status_code == 303

    @pytest.mark.parametrize("code", ["", "wrong"])
    async def test_with_an_unknown_code(self, web: WebHarness, code: str) -> None:
        answer = await come_back(web, state_of(await begin(web)), code=code)

        assert answer.status_code == 400
        assert "The forge doesn&#39;t know this code." in answer.text
        assert "Start again" in answer.text


class TestStates:
    def test_end_after_an_hour(self) -> None:
        now = [0.0]
        states = OAuthStates(lambda: now[0])
        (early, cookie), (late, _) = states.issue(ANN), states.issue(ANN)
        now[0] = LIFETIME - 1
        assert states.accept(early, ANN, cookie)
        now[0] += 1
        assert not states.accept(late, ANN, cookie)

    def test_are_few(self) -> None:
        states = OAuthStates()
        given = [states.issue(ANN, "cookie")[0] for _ in range(MAX_STATES + 1)]
        assert not states.accept(given[0], ANN, "cookie")
        assert states.accept(given[1], ANN, "cookie")

    def test_are_for_one_actor_and_one_browser(self) -> None:
        states = OAuthStates()
        for actor, cookie in ((BOB, "mine"), (ANN, "other"), (ANN, ""), (ANN, "é")):
            state, _ = states.issue(ANN, "mine")
            assert not states.accept(state, actor, cookie)
