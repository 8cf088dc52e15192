"""A GitHub to ask, and the client that asks it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator

import aiohttp
import pytest

from stager.forges.github.account import Place, with_token
from stager.forges.github.client import GithubClient
from tests.doubles.github import GithubDouble

USER, PASSWORD = "stager-bot", "ghp_a-token-nobody-may-see"
ENCODED = b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture
async def github() -> AsyncIterator[GithubDouble]:
    async with GithubDouble(USER, PASSWORD) as double:
        yield double


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def client(github: GithubDouble, session: aiohttp.ClientSession) -> GithubClient:
    return with_token(
        session, Place(github.api_url, github.web_url, timeout=2.0, pause=0.01), USER, PASSWORD
    ).client
