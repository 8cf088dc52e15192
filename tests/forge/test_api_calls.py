"""Every call of GitHub's API that we make, held against GitHub's own description of it by Prism."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused, StagerError
from stager.domain.source import Repository
from stager.forges.github.account import Place, with_token
from stager.forges.github.client import GithubClient
from tests.doubles.github import GithubDouble, GithubPull, GithubRepository
from tests.forge import doubles
from tests.integration.stager import basic

USER, PASSWORD = "stager-bot", "token"

EVERY_CALL = {
    "GET /repos/{owner}/{repo}",
    "GET /repos/{owner}/{repo}/issues/{number}/comments",
    "GET /repos/{owner}/{repo}/pulls",
    "GET /repos/{owner}/{repo}/pulls/{number}",
    "GET /user",
    "PATCH /repos/{owner}/{repo}/issues/comments/{comment}",
    "POST /repos/{owner}/{repo}/issues/{number}/comments",
}


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("GET", {"params": {"per_page": "many"}}, "request.query.per_page"),
    ("POST", {"json": {"bdy": "no body"}}, "request.body"),
    ("POST", {"json": {"body": 7}}, "request.body.body"),
]
"""Requests for a pull request's comments that GitHub would refuse, and where they are wrong."""


@dataclass
class Scene:
    """Our client before Prism, which stands before a GitHub of our own.

    Attributes:
        asked: the calls so far, as `EVERY_CALL` has them.
    """

    client: GithubClient
    session: aiohttp.ClientSession
    prism: doubles.Server
    github: GithubDouble
    shop: GithubRepository
    asked: set[str]

    @property
    def repository(self) -> Repository:
        return Repository(str(self.shop.id), self.shop.owner, self.shop.name)

    def link(self, pull: GithubPull) -> ChangeLink:
        return ChangeLink(str(self.shop.id), "acme", "shop", pull.number, "main", "A change", "dev", "")

    async def ask_wrongly(self, method: str, how: dict[str, Any], where: str) -> None:
        """Send one of `WRONG`, and wait until Prism says so: what it says of others is in its log by then."""
        before = len(doubles.violations(self.prism))
        path = f"{self.prism.url}/repos/acme/shop/issues/1/comments"
        headers = {"authorization": basic(USER, PASSWORD)}
        async with self.session.request(method, path, headers=headers, **how) as answer:
            await answer.read()
        async with asyncio.timeout(10):
            while len(doubles.violations(self.prism)) == before:
                await asyncio.sleep(0.02)
        assert where in doubles.violations(self.prism)[-1]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    asked: set[str] = set()

    async def note(_: object, __: SimpleNamespace, ended: aiohttp.TraceRequestEndParams) -> None:
        asked.add(f"{ended.method} {_template(ended.url.path)}")

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note)
    async with GithubDouble(USER, PASSWORD) as github:
        with doubles.prism(github.api_url, tmp_path) as prism:
            # What Prism says of a long answer takes a long header.
            async with aiohttp.ClientSession(trace_configs=[trace], max_field_size=2**16) as session:
                client = with_token(
                    session, Place(prism.url, github.web_url, pause=0.01), USER, PASSWORD
                ).client
                shop = github.add_repository("acme", "shop")
                yield Scene(client, session, prism, github, shop, asked)


async def test_r77_every_call_is_as_github_describes_it(scene: Scene) -> None:
    """All that the client asks, well and badly answered, and in several pages."""
    await asks_for_changes(scene)
    await keeps_a_comment(scene)
    assert scene.asked == EVERY_CALL
    await scene.ask_wrongly(*WRONG[0])
    assert len(doubles.violations(scene.prism)) == 1, doubles.violations(scene.prism)


async def asks_for_changes(scene: Scene) -> None:
    client, github = scene.client, scene.github
    pulls = [github.open_pull(scene.shop, f"branch-{number}") for number in range(120)]
    github.close(pulls[0])
    assert len(await client.open_changes(scene.repository)) == 119
    assert await client.change(scene.repository, 1) is not None
    assert await client.change(scene.repository, 121) is None
    assert await client.repository("acme", "shop") == scene.repository
    assert await client.repository("acme", "nothing") is None
    github.trouble("GET", "/pulls$", status=500, times=2)
    assert len(await client.open_changes(scene.repository)) == 119
    scene.shop.visible = False
    with pytest.raises(StagerError):
        await client.open_changes(scene.repository)
    scene.shop.visible = True


async def keeps_a_comment(scene: Scene) -> None:
    client, github = scene.client, scene.github
    pull = github.open_pull(scene.shop, "commented")
    for number in range(110):
        github.add_comment(pull, f"comment {number}")
    link, marker = scene.link(pull), "<!-- stager -->"
    first = await client.comment(link, marker=marker, body="starting", known="")
    assert await client.comment(link, marker=marker, body="live ✅ `x`", known=first) == first
    assert await client.comment(link, marker=marker, body="found again", known="") == first
    pull.comments.pop()
    second = await client.comment(link, marker=marker, body="once more", known=first)
    assert second != first
    github.trouble("PATCH", "/comments/", status=403, times=1)
    with pytest.raises(Refused):
        await client.comment(link, marker=marker, body="refused", known=second)


async def test_a_wrong_request_is_noticed(scene: Scene) -> None:
    """The judge can say no: otherwise its silence meant nothing."""
    scene.github.open_pull(scene.shop, "commented")
    for wrong in WRONG:
        await scene.ask_wrongly(*wrong)


def _template(path: str) -> str:
    """The path with names in the place of values, as GitHub's description writes it."""
    known = re.sub(r"^/repos/[^/]+/[^/]+", "/repos/{owner}/{repo}", path)
    known = re.sub(r"/comments/\d+$", "/comments/{comment}", known)
    return re.sub(r"/(pulls|issues)/\d+", r"/\1/{number}", known)
