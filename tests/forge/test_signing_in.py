"""Signing in at oidc-provider, which is certified, on GitHub's paths: it refuses what isn't right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

import aiohttp
import httpx
import pytest

from stager.control.identity.secrets import new_secret
from stager.domain.errors import Refused
from stager.domain.source import Access
from stager.forges.github.account import GithubServer
from stager.forges.github.sign_in import GithubSignIn, OAuthClient
from stager.ports.login import AuthorizationRequest, DeviceCode, Identity, Pending
from tests.forge import doubles
from tests.forge.visitor import Visitor

CALLBACK = "http://127.0.0.1:9/event_receiver"
SCOPE = "openid repo"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[doubles.Server]:
    with doubles.oidc(tmp_path_factory.mktemp("oidc"), CALLBACK) as running:
        yield running


@dataclass
class Rig:
    session: aiohttp.ClientSession
    server: doubles.Server

    def accounts(self, client: OAuthClient) -> GithubSignIn:
        github_server = GithubServer(self.server.url, self.server.url, pause=0.01)
        return GithubSignIn(self.session, github_server, lambda: client, SCOPE)

    @property
    def web(self) -> GithubSignIn:
        return self.accounts(OAuthClient("web", "web-secret"))

    async def visit(self, url: str, name: str = "octocat", **typed: str) -> str:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await Visitor(client, self.server.url, name).go(url, **typed)


@pytest.fixture(name="rig")
async def made_scene(server: doubles.Server) -> AsyncIterator[Rig]:
    async with aiohttp.ClientSession() as session:
        yield Rig(session, server)


def asked() -> AuthorizationRequest:
    return AuthorizationRequest(new_secret(), new_secret(), CALLBACK, new_secret())


async def code_for(rig: Rig, one: AuthorizationRequest, name: str = "octocat") -> str:
    back = await rig.visit(await rig.web.address(one), name)
    query = parse_qs(urlsplit(back).query)
    assert back.startswith(CALLBACK)
    assert query["state"] == [one.state]
    return query["code"][0]


async def test_a_browser_signs_in(rig: Rig) -> None:
    one = asked()
    identity = await rig.web.exchange(await code_for(rig, one), one)

    assert identity.name == "octocat"
    assert await rig.web.who(identity.proof) == "octocat"
    assert await rig.web.access(identity.proof, "acme", "shop") is Access.WRITE


@pytest.mark.parametrize(("name", "access"), [("ann-reader", Access.READ), ("bob-stranger", Access.NONE)])
async def test_permissions_are_read_with_the_users_own_token(rig: Rig, name: str, access: Access) -> None:
    one = asked()
    identity = await rig.web.exchange(await code_for(rig, one, name), one)

    assert await rig.web.access(identity.proof, "acme", "shop") is access


async def test_a_stolen_code_is_worth_nothing_without_the_verifier(rig: Rig) -> None:
    one = asked()
    code = await code_for(rig, one)
    with pytest.raises(Refused):
        await rig.web.exchange(code, replace(one, verifier=new_secret()))


async def test_a_code_is_good_once(rig: Rig) -> None:
    one = asked()
    code = await code_for(rig, one)
    await rig.web.exchange(code, one)
    with pytest.raises(Refused):
        await rig.web.exchange(code, one)


async def test_no_redirect_leads_to_another_host(rig: Rig) -> None:
    one = replace(asked(), redirect="http://127.0.0.1:10/evil")
    assert await rig.visit(await rig.web.address(one)) == ""


async def test_another_clients_secret(rig: Rig) -> None:
    one = asked()
    code = await code_for(rig, one)
    with pytest.raises(Refused) as refused:
        await rig.accounts(OAuthClient("web", "other")).exchange(code, one)
    assert "other" not in str(refused.value)


async def test_an_unknown_token(rig: Rig) -> None:
    assert await rig.web.who("made-up") == ""
    assert await rig.web.access("made-up", "acme", "shop") is Access.NONE


async def test_a_machine_without_a_browser_signs_in(rig: Rig) -> None:
    device = rig.accounts(OAuthClient("device", ""))
    begun = await device.begin()
    assert isinstance(begun, DeviceCode)
    assert isinstance(await device.poll(begun.secret), Pending)

    await rig.visit(begun.verification_uri, user_code=begun.user_code)
    await asyncio.sleep(0)
    identity = await device.poll(begun.secret)

    assert isinstance(identity, Identity)
    assert identity.name == "octocat"
    with pytest.raises(Refused):
        await device.poll(begun.secret)
