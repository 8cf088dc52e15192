"""Every call of GitHub's API that we make, held against GitHub's own description of it by Prism."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused, StagerError
from stager.domain.source import Access, Repository
from stager.forges.github.account import GithubServer, anonymous, with_app, with_token
from stager.forges.github.api.responses import AppCredentials
from stager.forges.github.app_setup.keyring import Keyring
from stager.forges.github.app_setup.setup import GithubSetup
from stager.ports.forge import Announcement, Forge, Progress, Reaction
from tests.doubles.github import GithubDouble, GithubPull, GithubRepository
from tests.doubles.github_app import MANIFEST_CODE, LoggedDelivery
from tests.forge import doubles
from tests.integration.stager import basic
from tests.unit.forges.github.conftest import client_of

USER, PASSWORD = "stager-bot", "token"

EVERY_CALL = {
    "DELETE /repos/{owner}/{repo}/issues/comments/{comment}",
    "GET /app",
    "GET /app/hook/deliveries",
    "GET /repos/{owner}/{repo}",
    "GET /repos/{owner}/{repo}/collaborators/{login}/permission",
    "GET /repos/{owner}/{repo}/commits/{sha}/check-runs",
    "GET /repos/{owner}/{repo}/commits/{sha}/status",
    "GET /repos/{owner}/{repo}/deployments",
    "GET /repos/{owner}/{repo}/installation",
    "GET /repos/{owner}/{repo}/issues/{number}/comments",
    "GET /repos/{owner}/{repo}/pulls",
    "GET /repos/{owner}/{repo}/pulls/{number}",
    "GET /repos/{owner}/{repo}/pulls/{number}/files",
    "GET /user",
    "PATCH /repos/{owner}/{repo}/issues/comments/{comment}",
    "POST /app-manifests/{code}/conversions",
    "POST /app/hook/deliveries/{delivery}/attempts",
    "POST /app/installations/{installation}/access_tokens",
    "POST /repos/{owner}/{repo}/deployments",
    "POST /repos/{owner}/{repo}/deployments/{deployment}/statuses",
    "POST /repos/{owner}/{repo}/issues/comments/{comment}/reactions",
    "POST /repos/{owner}/{repo}/issues/{number}/comments",
    "POST /repos/{owner}/{repo}/statuses/{sha}",
}

TEMPLATES = [
    (r"^/repos/[^/]+/[^/]+", "/repos/{owner}/{repo}"),
    (r"/comments/\d+", "/comments/{comment}"),
    (r"/(pulls|issues)/\d+", r"/\1/{number}"),
    (r"/deployments/\d+", "/deployments/{deployment}"),
    (r"/deliveries/\d+", "/deliveries/{delivery}"),
    (r"/installations/\d+", "/installations/{installation}"),
    (r"/collaborators/[^/]+", "/collaborators/{login}"),
    (r"/(commits|statuses)/[0-9a-f]{40}", r"/\1/{sha}"),
    (r"^/app-manifests/[^/]+", "/app-manifests/{code}"),
]
"""What in a path is a value, and its name."""

SHA, OTHER_SHA = "a" * 40, "b" * 40
LIVE = Announcement(
    "preview/shop/pr-1", SHA, Progress.SUCCESS, "It is live.", "https://x.test/", "https://y.test/"
)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("GET", {"params": {"per_page": "many"}}, "request.query.per_page"),
    ("POST", {"json": {"bdy": "no body"}}, "request.body"),
    ("POST", {"json": {"body": 7}}, "request.body.body"),
]
"""Requests for a pull request's comments that GitHub would refuse, and where they are wrong."""


@dataclass
class Rig:
    """All of ours that asks GitHub, before Prism, which stands before a GitHub of our own.

    Args:
        account, app: who asks.
        setup: what has an App made.

    Attributes:
        asked: the calls so far, as `EVERY_CALL` has them.
    """

    account: Forge
    app: Forge
    setup: GithubSetup
    session: aiohttp.ClientSession
    prism: doubles.Server
    github: GithubDouble
    shop: GithubRepository
    asked: set[str]

    @property
    def repository(self) -> Repository:
        return Repository(f"github:{self.shop.id}", self.shop.owner, self.shop.name)

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
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    asked: set[str] = set()

    async def note(_: object, __: SimpleNamespace, ended: aiohttp.TraceRequestEndParams) -> None:
        asked.add(f"{ended.method} {_template(ended.url.raw_path)}")

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note)
    async with GithubDouble(USER, PASSWORD) as github:
        with doubles.prism(github.api_url, tmp_path) as prism:
            # What Prism says of a long answer takes a long header.
            async with aiohttp.ClientSession(trace_configs=[trace], max_field_size=2**16) as session:
                server = GithubServer(prism.url, github.web_url, pause=0.01)
                account = with_token(session, server, USER, PASSWORD)
                app = with_app(session, server, AppCredentials(github.app.id, github.app.pem))
                keyring = Keyring(tmp_path / "github-app.json")
                setup = GithubSetup(anonymous(session, server), keyring, github.web_url, use=lambda _: None)
                shop = github.add_repository("acme", "shop")
                yield Rig(account, app, setup, session, prism, github, shop, asked)


async def test_r77_every_call_is_as_github_describes_it(rig: Rig) -> None:
    """All that the client asks, well and badly answered, and in several pages."""
    await asks_for_changes(rig)
    await keeps_a_comment(rig)
    await is_an_app(rig)
    for github in (rig.account, rig.app):
        await asks_about_people_and_checks(rig, github)
        await announces(rig, github)
    await has_lost_deliveries_sent_again(rig)
    assert rig.asked == EVERY_CALL
    await rig.ask_wrongly(*WRONG[0])
    assert len(doubles.violations(rig.prism)) == 1, doubles.violations(rig.prism)


async def asks_for_changes(rig: Rig) -> None:
    client, github = client_of(rig.account), rig.github
    pulls = [github.open_pull(rig.shop, f"branch-{number}") for number in range(120)]
    github.close(pulls[0])
    assert len(await client.open_changes(rig.repository)) == 119
    assert await client.change(rig.repository, 1) is not None
    assert await client.change(rig.repository, 121) is None
    assert await client.repository("acme", "shop") == rig.repository
    assert await client.repository("acme", "nothing") is None
    github.fail("GET", "/pulls$", status=500, times=2)
    assert len(await client.open_changes(rig.repository)) == 119
    rig.shop.visible = False
    with pytest.raises(StagerError):
        await client.open_changes(rig.repository)
    rig.shop.visible = True


async def keeps_a_comment(rig: Rig) -> None:
    client, github = client_of(rig.account), rig.github
    pull = github.open_pull(rig.shop, "commented")
    for number in range(110):
        github.add_comment(pull, f"comment {number}")
    link, marker = rig.link(pull), "<!-- stager -->"
    first = await client.comment(link, marker=marker, body="starting", known="")
    assert await client.comment(link, marker=marker, body="live ✅ `x`", known=first) == first
    assert await client.comment(link, marker=marker, body="found again", known="") == first
    pull.comments.pop()
    second = await client.comment(link, marker=marker, body="once more", known=first)
    assert second != first
    github.fail("PATCH", "/comments/", status=403, times=1)
    with pytest.raises(Refused):
        await client.comment(link, marker=marker, body="refused", known=second)
    await client.uncomment(link, marker=marker, known=second)
    await client.uncomment(link, marker=marker, known=second)


async def is_an_app(rig: Rig) -> None:
    with pytest.raises(Refused):
        await rig.setup.finish("another-code")
    assert (await rig.setup.finish(MANIFEST_CODE)).name == rig.github.app.slug
    with pytest.raises(Refused):
        await rig.app.origins.origin(rig.repository, None)
    rig.github.app.install("acme", "shop")
    assert (await rig.app.origins.origin(rig.repository, 1)).authorization
    link = rig.link(rig.github.open_pull(rig.shop, "by-an-app"))
    made = await client_of(rig.app).comment(link, marker="<!-- app -->", body="live", known="")
    assert await client_of(rig.app).comment(link, marker="<!-- app -->", body="live", known="") == made


async def asks_about_people_and_checks(rig: Rig, github: Forge) -> None:
    rig.shop.state.people = {"mona": ("write", "maintain"), "größe/..": ("none", "none")}
    pull = rig.github.open_pull(rig.shop, "asked-about", sha=SHA)
    pull.files = [{"filename": f"folder/{number}"} for number in range(120)]
    rig.shop.state.statuses[SHA] = [{"context": f"ci {n}", "state": "success"} for n in range(120)]
    rig.shop.state.check_runs[SHA] = [{"name": "ci", "status": "queued", "conclusion": None}]
    assert await github.people.access(rig.repository, "mona") is Access.WRITE
    assert await github.people.access(rig.repository, "nobody") is Access.NONE
    assert await github.people.access(rig.repository, "größe/..") is Access.NONE
    assert len(await github.people.paths(rig.repository, pull.number)) == 120
    assert await github.people.checks(rig.repository, SHA, "stager/shop") == "pending"
    assert await github.people.checks(rig.repository, OTHER_SHA, "stager/shop") == "none"


async def announces(rig: Rig, github: Forge) -> None:
    pull = rig.github.open_pull(rig.shop, "announced", sha=SHA)
    rig.github.push(pull, OTHER_SHA)
    link, at = rig.link(pull), github.announcements
    environment = f"preview/shop/pr-{pull.number} größer"
    known = ""
    for sha in (SHA, OTHER_SHA):
        for progress in Progress:
            one = replace(LIVE, environment=environment, sha=sha, progress=progress)
            known = await at.deployment(link, one, known)
            await at.status(link, one, "stager/shop")
    bare = replace(LIVE, environment=environment, sha=SHA, url="", log_url="", description="é" * 500)
    await at.deployment(link, bare, "999999:" + SHA)
    await at.status(link, bare, "stager/shop")
    comment = rig.github.add_comment(pull, "/stager")
    reactions: list[Reaction] = ["+1", "-1", "confused", "rocket", "eyes", "eyes"]
    for reaction in reactions:
        await at.react(rig.repository, str(comment.id), reaction)
    await at.react(rig.repository, "999999", "eyes")
    assert len(comment.reactions) == 5


async def has_lost_deliveries_sent_again(rig: Rig) -> None:
    now = datetime.now(UTC)
    rig.github.app.page = 2
    rig.github.app.log = [LoggedDelivery(f"lost-{n}", "pull_request", 502, now) for n in range(5)]
    assert await rig.app.redelivery.redeliver(now - timedelta(hours=1)) == 5


async def test_a_wrong_request_is_detected(rig: Rig) -> None:
    """The judge can say no: otherwise its silence meant nothing."""
    rig.github.open_pull(rig.shop, "commented")
    for wrong in WRONG:
        await rig.ask_wrongly(*wrong)


def _template(path: str) -> str:
    """The path with names in the place of values, as GitHub's description writes it."""
    for value, name in TEMPLATES:
        path = re.sub(value, name, path)
    return path
