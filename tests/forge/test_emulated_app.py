"""Stager as a GitHub App at emulate's GitHub, which checks proofs, and what a token is good for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused, Retry
from stager.domain.source import Repository, repository_id
from stager.forges.github.account import GithubServer, with_app
from stager.forges.github.api import responses
from stager.forges.github.api.responses import AppCredentials
from stager.ports.forge import Forge
from tests.doubles.github_app import a_key, pem_of
from tests.forge import doubles
from tests.forge.emulated import OWNER, SEED, STRANGER, Emulated
from tests.unit.forges.github.conftest import client_of

APP_ID, SLUG = "4711", "stager-acme"
PERMISSIONS = {
    "metadata": "read",
    "contents": "read",
    "pull_requests": "write",
    "issues": "read",
    "checks": "read",
}


@dataclass(frozen=True, slots=True)
class Rig:
    """The App, which asks emulate over Prism."""

    app: Forge
    emulated: Emulated
    repository: Repository
    session: aiohttp.ClientSession
    url: str

    def link(self, number: int) -> ChangeLink:
        return ChangeLink(self.repository.id, OWNER, "shop", number, "main", "A change", OWNER, "")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[doubles.Server]:
    seed = deepcopy(SEED)
    key = a_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    installation = {"installation_id": 100, "account": OWNER, "repositories": ["shop"]}
    seed["github"]["apps"] = [
        {
            "app_id": int(APP_ID),
            "slug": SLUG,
            "name": "Stager",
            "private_key": key.decode(),
            "permissions": PERMISSIONS,
            "installations": [installation | {"repository_selection": "selected"}],
        }
    ]
    with doubles.emulate(seed, tmp_path_factory.mktemp("emulate")) as running:
        yield running


@pytest.fixture
async def rig(server: doubles.Server, tmp_path: Path) -> AsyncIterator[Rig]:
    emulated = Emulated(server)
    found = emulated.done("GET", "")
    with doubles.prism(server.url, tmp_path) as prism:
        async with aiohttp.ClientSession(max_field_size=2**16) as session:
            github_server = GithubServer(prism.url, server.url, pause=0.01)
            app = with_app(session, github_server, AppCredentials(APP_ID, pem_of(a_key())))
            yield Rig(
                app,
                emulated,
                Repository(repository_id("github", str(found["id"])), OWNER, "shop"),
                session,
                prism.url,
            )
        assert doubles.violations(prism) == []
    emulated.end()


async def opened(rig: Rig, branch: str) -> int:
    return await asyncio.to_thread(rig.emulated.open, branch)


async def test_it_sees_pull_requests_and_comments(rig: Rig) -> None:
    number = await opened(rig, "by-app")
    change = await client_of(rig.app).change(rig.repository, number)
    assert change is not None
    assert change in await client_of(rig.app).open_changes(rig.repository)
    link = rig.link(number)
    made = await client_of(rig.app).comment(link, marker="<!-- one -->", body="starting", known="")
    assert await client_of(rig.app).comment(link, marker="<!-- one -->", body="live", known=made) == made
    assert len(await asyncio.to_thread(rig.emulated.comments, number)) == 1


async def test_gits_token_reads_and_does_nothing_else(rig: Rig) -> None:
    number = await opened(rig, "for-git")
    origin = await rig.app.origins.origin(rig.repository, number)
    user, _, token = base64.b64decode(origin.authorization.removeprefix("Basic ")).decode().partition(":")
    assert user == "x-access-token"
    headers = {"authorization": f"Bearer {token}"}
    path = f"{rig.url}/repos/{OWNER}/shop"
    async with rig.session.get(path, headers=headers) as answer:
        assert answer.status == 200
    comment = {"body": "I may not."}
    async with rig.session.post(f"{path}/issues/{number}/comments", headers=headers, json=comment) as answer:
        assert answer.status == 403


async def test_a_repository_that_it_isnt_installed_on(rig: Rig) -> None:
    with pytest.raises(Refused):
        await rig.app.origins.origin(Repository("github:1", OWNER, "secret"), None)
    with pytest.raises(Retry):
        await client_of(rig.app).open_changes(Repository("github:1", STRANGER, "shop"))


async def test_a_proof_by_another_key_is_refused(rig: Rig) -> None:
    github_server = GithubServer(rig.url, "https://github.test", pause=0.01)
    other = with_app(rig.session, github_server, AppCredentials(APP_ID, pem_of(a_key(1))))
    with pytest.raises(Refused) as refused:
        await other.origins.origin(rig.repository, None)
    assert refused.value.status == 401


async def test_check_runs_are_read(rig: Rig) -> None:
    number = await opened(rig, "checked")
    sha = (await asyncio.to_thread(rig.emulated.pull, number))["head"]["sha"]

    def check(name: str, **how: str) -> None:
        rig.emulated.done("POST", "/check-runs", name=name, head_sha=sha, **how)

    await asyncio.to_thread(check, "build", status="completed", conclusion="failure")
    await asyncio.to_thread(check, "lint", status="in_progress")
    path = "/repos/{owner}/{repo}/commits/{sha}/check-runs"
    names = {"owner": OWNER, "repo": "shop", "sha": sha}
    found = await client_of(rig.app)._rest.read_list(path, names, within="check_runs")
    states = {(run.name, run.ended, run.outcome) for run in map(responses.read_check_run, found)}
    assert states == {("build", True, "failure"), ("lint", False, "")}


# What emulate can't do, or does in another way than GitHub; see test_emulate.


async def test_gap_access_has_other_words(rig: Rig) -> None:
    path = f"/collaborators/{OWNER}/permission"
    found = await asyncio.to_thread(rig.emulated.done, "GET", path)
    known = {"admin", "write", "read", "none"}
    if found["permission"] in known:
        await asyncio.to_thread(rig.emulated.done, "PUT", f"/collaborators/{STRANGER}", permission="push")
        found = await asyncio.to_thread(rig.emulated.done, "GET", f"/collaborators/{STRANGER}/permission")
    assert found["permission"] not in known, "emulate speaks as GitHub does now"
    pytest.skip("emulate says `push` where GitHub says `write`: access is tested with tests.doubles.github")


async def test_gap_there_is_no_combined_status(rig: Rig) -> None:
    with pytest.raises(Retry):
        await rig.app.people.checks(rig.repository, "c" * 40, "stager/shop")
    pytest.skip("emulate has no commit statuses: checks as a whole are tested with tests.doubles.github")


async def test_gap_files_arent_known(rig: Rig) -> None:
    number = await opened(rig, "with-files")
    assert await rig.app.people.paths(rig.repository, number) == [], "emulate knows what a push changed"
    pytest.skip("emulate knows no files of a pull request: paths are tested with tests.doubles.github")
