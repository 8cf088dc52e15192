"""A GitHub to ask, and those who ask it: an account, and an App."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator

import aiohttp
import pytest

from stager.domain.source import Repository
from stager.forges.github.account import GithubServer, with_app, with_token
from stager.forges.github.api.pull_requests import GithubPullRequests
from stager.forges.github.api.responses import AppCredentials
from stager.ports.forge import Forge
from tests.doubles.github import GithubDouble, GithubRepository

USER, PASSWORD = "stager-bot", "ghp_a-token-nobody-may-see"
ENCODED = b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture
async def github() -> AsyncIterator[GithubDouble]:
    async with GithubDouble(USER, PASSWORD) as double:
        yield double


def client_of(forge: Forge) -> GithubPullRequests:
    """The part of GitHub that has changes and comments."""
    assert isinstance(forge.changes, GithubPullRequests)
    return forge.changes


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def server(github: GithubDouble) -> GithubServer:
    return GithubServer(github.api_url, github.web_url, timeout=2.0, pause=0.01)


@pytest.fixture
def account(server: GithubServer, session: aiohttp.ClientSession) -> Forge:
    """GitHub as an account with a token sees it."""
    return with_token(session, server, USER, PASSWORD)


@pytest.fixture
def client(account: Forge) -> GithubPullRequests:
    return client_of(account)


@pytest.fixture
def credentials(github: GithubDouble) -> AppCredentials:
    url = f"{github.web_url}/apps/{github.app.slug}"
    return AppCredentials(github.app.id, github.app.pem, github.app.slug, url)


@pytest.fixture
def app(server: GithubServer, session: aiohttp.ClientSession, credentials: AppCredentials) -> Forge:
    """GitHub as an App sees it."""
    return with_app(session, server, credentials)


@pytest.fixture
def shop(github: GithubDouble) -> GithubRepository:
    return github.add_repository("acme", "shop")


@pytest.fixture
def repository(shop: GithubRepository) -> Repository:
    return Repository(f"github:{shop.id}", shop.owner, shop.name)
