"""What every forge promises that makes Apps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from stager.domain.errors import Refused
from stager.forges.github.account import GithubServer, anonymous
from stager.forges.github.app_setup.keyring import Keyring
from stager.forges.github.app_setup.setup import GithubSetup
from stager.ports.setup import AppSetup
from stager.testing.fakes.setup import CODE, FakeSetup
from tests.doubles.github import GithubDouble
from tests.doubles.github_app import MANIFEST_CODE

HOME = "https://demo.example.org"


@dataclass
class UnderTest:
    """A setup, and the code that its forge gives out."""

    setup: AppSetup
    code: str


@pytest.fixture(params=["memory", "github"])
async def made(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[UnderTest]:
    if request.param == "memory":
        yield UnderTest(FakeSetup(), CODE)
        return
    async with GithubDouble() as double, aiohttp.ClientSession() as session:
        rest = anonymous(session, GithubServer(double.api_url, double.web_url, pause=0.001))
        keyring = Keyring(tmp_path / "github-app.json")
        yield UnderTest(GithubSetup(rest, keyring, double.web_url, use=lambda _: None), MANIFEST_CODE)


async def test_a_proposal_goes_to_the_forge_with_the_state(made: UnderTest) -> None:
    proposal = made.setup.proposal(HOME, "", "a-state")

    assert proposal.target.startswith(f"{made.setup.forge_url}/")
    assert "a-state" in proposal.target
    assert HOME in proposal.manifest
    assert proposal.reachable
    assert proposal.permissions


async def test_an_organization_gets_a_page_of_its_own(made: UnderTest) -> None:
    own, theirs = (made.setup.proposal(HOME, name, "state").target for name in ("", "acme"))

    assert own != theirs
    assert "acme" in theirs


async def test_what_the_forge_made_is_kept(made: UnderTest) -> None:
    assert made.setup.made() is None
    app = await made.setup.finish(made.code)

    assert app == made.setup.made()
    assert app.url.startswith(made.setup.forge_url)
    assert app.install_url.startswith(app.url)
    assert app.in_use, "without a restart"


@pytest.mark.parametrize("code", ["", "unknown", "../user"])
async def test_a_code_that_the_forge_doesnt_know(made: UnderTest, code: str) -> None:
    with pytest.raises(Refused) as caught:
        await made.setup.finish(code)

    assert caught.value.reason == "setup-code-unknown"
    assert made.setup.made() is None
