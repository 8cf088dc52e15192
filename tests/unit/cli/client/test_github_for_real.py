"""Signing in with GitHub against a whole server: the command on a terminal, a user in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import structlog

from stager.auth.github import GithubAuthentication
from stager.control.identity.login_flows import LoginFlows
from stager.domain.source import Access
from stager.handlers.authorization import GithubAuthorization
from stager.testing.fakes.login import FakeAccounts
from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import Served, served
from tests.unit.cli.client.test_github import sit, visited
from tests.unit.control.harness import SHOP, Harness
from tests.unit.control.virtual_time import LoopClock


@dataclass
class Rig:
    """A server, and the accounts that people have at the provider."""

    server: Served
    accounts: FakeAccounts

    def agree(self, login: str, address: str, answer: str = "yes") -> None:
        """Open this address in a browser, sign in there, and answer the question on our page."""
        code = self.accounts.agree(login, address)
        state = parse_qs(urlsplit(address).query)["state"][0]
        with httpx.Client(base_url=self.server.url, trust_env=False) as browser:
            back = browser.get("/login/github/callback", params={"code": code, "state": state})
            assert back.status_code == 200
            said = browser.post(
                "/login/authorize",
                data={"state": state, "answer": answer},
                headers={"Origin": self.server.url},
            )
            assert said.status_code == 200


@pytest.fixture
def rig(run: Run) -> Iterator[Rig]:
    """Where octocat may push to acme/shop, and mona may read it."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    accounts = FakeAccounts()
    accounts.rights = {("octocat", "acme/shop"): Access.WRITE, ("mona", "acme/shop"): Access.READ}
    home: list[str] = []
    logins = LoginFlows(accounts, lambda: home[0], LoopClock().now)
    harness = Harness(
        [replace(SHOP, owner="acme")],
        logins=logins,
        authentication=[GithubAuthentication(logins)],
        listeners=[GithubAuthorization(logins)],
    )
    with served(harness) as server:
        home.append(server.url)
        assert run("configure", f"endpoint={server.url}", "auth_strategy=Github").exit_code == 0
        yield Rig(server, accounts)
    structlog.reset_defaults()


@pytest.mark.requirement("R108", "R119", "R120", "R121")
def test_the_first_launch_asks_and_the_second_doesnt(rig: Rig, run: Run, tmp_path: Path) -> None:
    launching = sit(tmp_path, "launch", "shop", "master", "--no-open", browser=True)
    launching.wait_for("Check that the page shows this code: ")
    rig.agree("octocat", visited(tmp_path))
    assert launching.ends() == 0
    assert "Signed in as octocat." in launching.said
    assert "http://master.preview.test" in launching.said

    assert run("list").exit_code == 0
    assert run("whoami").stdout.startswith("octocat ")
    assert run("kill", "shop", "master").exit_code == 0


def test_users_with_read_access_may_not_launch(rig: Rig, run: Run, tmp_path: Path) -> None:
    login = sit(tmp_path, "login", browser=True)
    login.wait_for("Check that the page shows this code: ")
    rig.agree("mona", visited(tmp_path))
    assert login.ends() == 0
    assert run("launch", "shop", "x").exit_code == 4


def test_a_no_in_the_browser_ends_it(rig: Rig, run: Run, tmp_path: Path) -> None:
    login = sit(tmp_path, "login", browser=True)
    login.wait_for("Check that the page shows this code: ")
    rig.agree("octocat", visited(tmp_path), "no")
    assert login.ends() == 3
    assert run("list").exit_code == 3


def test_a_code_where_there_is_no_browser(rig: Rig, run: Run, tmp_path: Path) -> None:
    login = sit(tmp_path, "login", browser=False)
    login.wait_for("enter this code: CODE-0000")
    rig.accounts.agreed["CODE-0000"] = "octocat"
    assert login.ends() == 0
    assert run("whoami").stdout.startswith("octocat ")
