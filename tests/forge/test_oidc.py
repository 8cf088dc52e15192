"""Signing in at oidc-provider, which is certified, through Stager's own pages: from the button to what one
may do, and out again."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from stager.auth.basic import BasicAuthentication
from stager.auth.oidc import CALLBACK, OpenIDConnectAuthentication
from stager.control.identity.authorizer import Roles
from stager.control.identity.secrets import new_secret
from stager.domain.identity.roles import Role
from stager.ports.login import challenge_of
from tests.forge import doubles
from tests.forge.visitor import Visitor
from tests.unit.web.harness import HOST, WebHarness, web

HOME = f"http://{HOST}"
OURS = {"origin": HOME}
LAUNCH = {"image_name": "shop", "container_name": "x"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[doubles.Server]:
    with doubles.oidc(tmp_path_factory.mktemp("oidc"), HOME + CALLBACK) as running:
        yield running


@dataclass
class Rig:
    """A Stager whose people sign in at the provider."""

    web: WebHarness
    server: doubles.Server

    async def at_provider(self, url: str, name: str) -> str:
        """Sign in there. Returns the target of the redirect."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return await Visitor(client, self.server.url, name).go(url)

    async def sign_in(self, name: str) -> httpx.Response:
        """By the button on our page, and back."""
        page = (await self.web.client.get("/login?to=/account")).text
        [address] = re.findall(r'href="(/login/oidc[^"]*)">Sign in with Acme<', page)
        away = await self.web.client.get(address)
        back = await self.at_provider(away.headers["location"], name)
        assert back.startswith(HOME + CALLBACK)
        return await self.web.client.get(back)

    async def launch(self) -> int:
        answer = await self.web.client.post("/api/v1/environments", json=LAUNCH, headers=OURS)
        return answer.status_code


@pytest.fixture(name="rig")
async def made_scene(server: doubles.Server) -> AsyncIterator[Rig]:
    strategy = OpenIDConnectAuthentication(
        OpenIDConnectAuthentication.Settings.model_validate(
            {
                "issuer": server.url,
                "client_id": "basic",
                "client_secret": "basic-secret",
                "title": "Acme",
                "scopes": ["openid", "groups"],
                "username_claim": "login",
                "roles_claim": "groups",
                "roles": {"makers": "developer", "staff": "viewer"},
            }
        )
    )
    listed = Roles({"oidc:ann": Role.ADMINISTRATOR, "oidc:eve": Role.NONE})
    authentication = [BasicAuthentication({"ann": "pass"}), strategy]
    async with web(domain=HOST, authentication=authentication, roles=listed, rest=False) as opened:
        yield Rig(opened, server)


@pytest.mark.parametrize(
    ("name", "role", "launched"),
    [
        ("octocat", "developer", 202),
        ("octocat-reader", "viewer", 403),
        ("ann", "administrator", 202),
        ("eve", "none", 403),
    ],
)
async def test_a_claim_gives_a_role_unless_the_configuration_does(
    rig: Rig, name: str, role: str, launched: int
) -> None:
    answer = await rig.sign_in(name)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")

    who = (await rig.web.client.get("/api/v1/whoami")).json()
    assert (who["name"], who["authenticated_by"], who["role"]) == (name, "OpenIDConnectAuthentication", role)
    assert await rig.launch() == launched


async def test_signing_out_ends_the_session(rig: Rig) -> None:
    await rig.sign_in("octocat")
    kept = dict(rig.web.client.cookies)
    await rig.web.client.post("/logout", headers=OURS)
    rig.web.client.cookies.update(kept)

    assert (await rig.web.client.get("/account")).status_code == 401


async def test_a_command_line_signs_in(rig: Rig) -> None:
    client, verifier = rig.web.client, new_secret()
    query = {"action": "get_oauth_url", "provider": "oidc", "challenge": challenge_of(verifier)}
    begun = (await client.get("/event_receiver", params=query)).json()
    back = await rig.at_provider(begun["url"], "octocat")
    page = await client.get(back)
    assert begun["code"] in page.text
    await client.post("/login/authorize", data={"state": begun["state"], "answer": "yes"}, headers=OURS)

    form = {
        "action": "get_oauth_token",
        "provider": "oidc",
        "state": begun["state"],
        "verifier": verifier,
    }
    answer = (await client.post("/event_receiver", data=form)).json()
    bearer = {"authorization": f"Bearer {answer['token']}"}
    assert (await client.get("/api/v1/whoami", headers=bearer)).json()["role"] == "developer"


async def test_another_browser_cant_finish_it(rig: Rig) -> None:
    away = await rig.web.client.get("/login/oidc")
    back = await rig.at_provider(away.headers["location"], "octocat")
    rig.web.client.cookies.clear()
    answer = await rig.web.client.get(back)

    assert answer.status_code == 403
    assert "stager-session" not in rig.web.client.cookies


async def test_a_code_for_another_users_sign_in_is_rejected(rig: Rig) -> None:
    """Injected into another's sign-in, it meets another verifier and another nonce."""
    first = await rig.web.client.get("/login/oidc")
    stolen = await rig.at_provider(first.headers["location"], "octocat")
    code = parse_qs(urlsplit(stolen).query)["code"][0]
    second = await rig.web.client.get("/login/oidc")
    state = parse_qs(urlsplit(second.headers["location"]).query)["state"][0]
    answer = await rig.web.client.get(CALLBACK, params={"code": code, "state": state})

    assert answer.status_code == 403
    assert "code is unknown to the provider" in answer.text
