"""A GitHub App: its proof, and the tokens that it gets for it."""

from __future__ import annotations

import asyncio
import base64
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import jwt
import pytest

from stager.domain.errors import Fault, Refused, Retry, StagerError
from stager.domain.source import Repository
from stager.forges.github.account import GithubServer, anonymous, with_app
from stager.forges.github.api.app import MARGIN, AppInstallations, AppJwt
from stager.forges.github.api.responses import AppCredentials
from stager.forges.github.api.rest import Rest
from stager.ports.forge import Forge
from tests.doubles.github import GithubDouble, GithubRepository
from tests.doubles.github_app import a_key, pem_of
from tests.unit.forges.github.conftest import client_of

ISSUING = "/access_tokens"
NO_KEY = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----"
AWAY: list[dict[str, Any]] = [
    {"status": 502},
    {"drop": True},
    {"status": 200, "body": "<html>"},
    {"status": 201, "body": "{}"},
]


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def installations(
    session: aiohttp.ClientSession, server: GithubServer, credentials: AppCredentials, clock: Clock
) -> AppInstallations:
    rest = Rest(session, server.api_url, AppJwt(credentials), timeout=2.0, pause=0.01)
    return AppInstallations(rest, credentials, now=clock)


class TestProof:
    async def test_is_a_jwt_as_github_requires(self, credentials: AppCredentials) -> None:
        bearer = await AppJwt(credentials).authorization()
        claims = jwt.decode(bearer.removeprefix("Bearer "), a_key().public_key(), ["RS256"])

        assert claims["iss"] == credentials.id
        assert claims["exp"] - claims["iat"] <= 600
        assert claims["iat"] <= datetime.now(UTC).timestamp() - 55, "clocks differ"

    async def test_is_renewed_before_it_ends(self, credentials: AppCredentials) -> None:
        now = [0.0]
        signer = AppJwt(credentials, clock=lambda: now[0])
        first = signer._signed_at
        now[0] = 7 * 60
        await signer.authorization()
        assert signer._signed_at == first
        now[0] += 1
        await signer.authorization()
        assert signer._signed_at == now[0]

    @pytest.mark.parametrize(
        "pem", ["", "no key", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----"]
    )
    def test_a_key_that_is_none(self, pem: str) -> None:
        with pytest.raises(Fault) as caught:
            AppJwt(AppCredentials("1", pem))
        assert caught.value.reason == "app-key-unreadable"
        assert caught.value.__cause__ is None

    async def test_of_another_key_is_refused(
        self,
        github: GithubDouble,
        session: aiohttp.ClientSession,
        server: GithubServer,
        repository: Repository,
    ) -> None:
        github.app.install("acme", "shop")
        other = with_app(session, server, AppCredentials(github.app.id, pem_of(a_key(1))))
        with pytest.raises(Refused) as caught:
            await other.origins.origin(repository, None)
        assert (caught.value.status, caught.value.reason) == (401, "forge-credentials-wrong")
        assert "github.private_key" in caught.value.hint


class TestTokens:
    async def test_are_kept_until_shortly_before_their_end(
        self, github: GithubDouble, shop: GithubRepository, installations: AppInstallations, clock: Clock
    ) -> None:
        github.app.install("acme", "shop")
        first = await installations.authorization("acme", "shop")
        clock.now += timedelta(hours=1) - MARGIN - timedelta(seconds=5)
        assert await installations.authorization("acme", "shop") == first
        clock.now += timedelta(seconds=10)
        assert await installations.authorization("acme", "shop") != first
        assert len(github.requested("POST", ISSUING)) == 2
        assert len(github.requested("GET", "/installation")) == 1

    async def test_concurrent_callers_share_one(
        self, github: GithubDouble, shop: GithubRepository, installations: AppInstallations
    ) -> None:
        github.app.install("acme", "shop", "blog")
        wanted = [installations.authorization("acme", name) for name in ("shop", "blog", "shop")]
        assert len(set(await asyncio.gather(*wanted))) == 1
        assert len(github.requested("POST", ISSUING)) == 1

    async def test_each_owner_has_their_own(
        self, github: GithubDouble, installations: AppInstallations
    ) -> None:
        github.app.install("acme", "shop")
        github.app.install("mallory", "shop")
        assert await installations.authorization("acme", "shop") != await installations.authorization(
            "mallory", "shop"
        )

    async def test_for_git_reads_this_repository_alone(
        self, github: GithubDouble, installations: AppInstallations
    ) -> None:
        github.app.install("acme", "shop", "secret")
        header = await installations.for_git("acme", "shop")
        user, _, token = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")

        assert user == "x-access-token"
        issued = github.app.issued[token]
        assert issued.repositories == {"shop"}
        assert issued.permissions == {"contents": "read"}
        assert await installations.for_git("acme", "shop") == header
        assert await installations.for_git("acme", "secret") != header

    async def test_one_that_github_ended_is_replaced_once(
        self, github: GithubDouble, shop: GithubRepository, app: Forge, repository: Repository
    ) -> None:
        github.app.install("acme", "shop")
        github.open_pull(shop, "feature/x")
        assert await client_of(app).change(repository, 1) is not None
        github.app.revoke()
        assert await client_of(app).change(repository, 1) is not None
        assert [r.status for r in github.requested("GET", "/pulls/1")] == [200, 401, 200]

    async def test_one_that_is_refused_again_is_the_end(
        self, github: GithubDouble, shop: GithubRepository, app: Forge, repository: Repository
    ) -> None:
        github.app.install("acme", "shop")
        github.fail("GET", "/pulls", times=9, status=401)
        with pytest.raises(Retry) as caught:
            await client_of(app).open_changes(repository)
        assert caught.value.reason == "forge-credentials-wrong"
        assert len(github.requested("GET", "/pulls")) == 2

    async def test_many_that_notice_at_once_replace_it_once(
        self, github: GithubDouble, shop: GithubRepository, app: Forge, repository: Repository
    ) -> None:
        github.app.install("acme", "shop")
        await client_of(app).open_changes(repository)
        github.app.revoke()
        await asyncio.gather(*(app.people.paths(repository, n) for n in range(5)), return_exceptions=True)
        assert len(github.requested("POST", ISSUING)) == 2

    async def test_a_post_is_made_after_all(
        self, github: GithubDouble, shop: GithubRepository, app: Forge, repository: Repository
    ) -> None:
        """What was refused with 401 had no effect."""
        github.app.install("acme", "shop")
        comment = github.add_comment(github.open_pull(shop, "feature/x"), "/stager")
        await client_of(app).open_changes(repository)
        github.app.revoke()
        await app.announcements.react(repository, str(comment.id), "eyes")
        assert comment.reactions == ["eyes"]


class TestInstallation:
    async def test_that_isnt_there(
        self, github: GithubDouble, shop: GithubRepository, app: Forge, repository: Repository
    ) -> None:
        with pytest.raises(Refused) as caught:
            await app.origins.origin(repository, None)
        assert caught.value.reason == "app-not-installed"
        assert "acme/shop" in caught.value.message
        assert f"{github.web_url}/apps/stager-acme/installations/new" in caught.value.hint

    async def test_that_isnt_there_says_nothing_of_pull_requests(
        self, github: GithubDouble, shop: GithubRepository, app: Forge, repository: Repository
    ) -> None:
        """Above all not that they are gone."""
        with pytest.raises(Retry):
            await client_of(app).change(repository, 1)
        with pytest.raises(Retry):
            await client_of(app).open_changes(repository)

    async def test_that_is_made_later_is_found(
        self, github: GithubDouble, shop: GithubRepository, app: Forge, repository: Repository
    ) -> None:
        with pytest.raises(StagerError):
            await client_of(app).open_changes(repository)
        github.app.install("acme", "shop")
        assert await client_of(app).open_changes(repository) == []

    async def test_that_was_removed_and_made_again_is_found(
        self, github: GithubDouble, shop: GithubRepository, app: Forge, repository: Repository
    ) -> None:
        installation = github.app.install("acme", "shop")
        await client_of(app).open_changes(repository)
        github.app.uninstall(installation)
        with pytest.raises(Retry):
            await client_of(app).open_changes(repository)
        github.app.install("acme", "shop").id = 999
        assert await client_of(app).open_changes(repository) == []

    async def test_of_an_owner_need_not_have_all_repositories(
        self, github: GithubDouble, app: Forge, shop: GithubRepository, repository: Repository
    ) -> None:
        hidden = github.add_repository("acme", "hidden")
        github.app.install("acme", "shop")
        assert await client_of(app).open_changes(repository) == []
        with pytest.raises(Retry):
            await client_of(app).open_changes(Repository(f"github:{hidden.id}", "acme", "hidden"))
        assert await client_of(app).repository("acme", "hidden") is None

    @pytest.mark.parametrize("path", ["/installation$", ISSUING])
    @pytest.mark.parametrize(
        "how",
        [{"status": 502}, {"drop": True}, {"status": 200, "body": "<html>"}, {"status": 201, "body": "{}"}],
    )
    async def test_that_cant_be_requested_now(
        self, github: GithubDouble, app: Forge, repository: Repository, path: str, how: dict[str, Any]
    ) -> None:
        github.app.install("acme", "shop")
        for method in ("GET", "POST"):
            github.fail(method, path, times=9, **how)
        with pytest.raises(Retry):
            await app.origins.origin(repository, None)


class TestOurComments:
    async def test_are_recognised_by_the_apps_name(
        self,
        github: GithubDouble,
        shop: GithubRepository,
        session: aiohttp.ClientSession,
        server: GithubServer,
    ) -> None:
        github.app.install("acme", "shop")
        nameless = AppCredentials(github.app.id, github.app.pem)
        app = with_app(session, server, nameless)
        assert await client_of(app)._own_login() == "stager-acme[bot]"
        assert github.requested("GET", "/user") == []


async def test_origins_have_the_url_for_git(
    github: GithubDouble, app: Forge, account: Forge, shop: GithubRepository, repository: Repository
) -> None:
    github.app.install("acme", "shop")
    of_change = await app.origins.origin(repository, 7)
    assert of_change.url == f"{github.web_url}/acme/shop.git"
    assert of_change.refs == ("refs/pull/7/head",)
    assert (await account.origins.origin(repository, None)).authorization.startswith("Basic ")


async def test_anonymous_access_has_no_credentials(
    session: aiohttp.ClientSession, server: GithubServer, github: GithubDouble, shop: GithubRepository
) -> None:
    with pytest.raises(Refused) as caught:
        await anonymous(session, server).read("/user", {})
    assert caught.value.status == 401
    assert "authorization" not in github.requests[-1].headers


async def test_secrets_show_nowhere(
    github: GithubDouble,
    app: Forge,
    shop: GithubRepository,
    repository: Repository,
    credentials: AppCredentials,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    github.app.install("acme", "shop")
    origin = await app.origins.origin(repository, None)
    github.fail("GET", "/pulls", times=9, drop=True)
    with pytest.raises(Retry) as caught:
        await client_of(app).open_changes(repository)
    shown = repr((caught.value, caught.value.__cause__, credentials, origin, app)) + caplog.text
    for secret in (*github.app.issued, credentials.pem, origin.authorization):
        assert secret not in shown
