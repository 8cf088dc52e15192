"""GithubAuthentication: an unclear answer of GitHub is a refusal, and its answers are cached for a while."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field, replace

import pytest
import structlog

from stager.auth import github
from stager.auth.github import CACHE_SECONDS, CACHE_SIZE, DENIED_CACHE_SECONDS, GithubAuthentication
from stager.control.identity.login_flows import LoginFlows
from stager.domain.commands import Launch
from stager.domain.errors import Refused, Retry
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.domain.source import Access
from stager.ports.handlers import Credentials
from stager.testing.fakes.faults import FaultMode
from stager.testing.fakes.login import FakeAccounts
from tests.unit.control.harness import SHOP, Harness
from tests.unit.control.virtual_time import LoopClock


@dataclass
class Rig:
    """Octocat may push to acme/shop, mona may read it."""

    accounts: FakeAccounts = field(default_factory=FakeAccounts)

    def __post_init__(self) -> None:
        self.accounts.rights |= {
            ("octocat", "acme/shop"): Access.WRITE,
            ("mona", "acme/shop"): Access.READ,
        }
        self.strategy = GithubAuthentication(logins(self.accounts))

    async def known(self, token: str) -> Actor | None:
        return await self.strategy.authenticate(bearer(token))

    async def role(self, token: str, application: str = "shop", owner: str = "acme") -> Role:
        return await self.strategy.role(Actor("somebody", "test", proof=token), application, owner)


def logins(accounts: FakeAccounts | None) -> LoginFlows:
    return LoginFlows(accounts, lambda: "http://stager.test", LoopClock().now)


def bearer(token: str) -> Credentials:
    return Credentials(f"Bearer {token}", {})


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.mark.requirement("R95", "R98", "R110")
@pytest.mark.parametrize("way", ["bearer", "parameter", "password"])
async def test_a_token_comes_in_three_ways(rig: Rig, way: str) -> None:
    token = rig.accounts.token("octocat")
    pair = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    given = {
        "bearer": bearer(token),
        "parameter": Credentials("", {"github_token": token}),
        "password": Credentials(f"Basic {pair}", {}),
    }[way]
    actor = await rig.strategy.authenticate(given)
    assert actor == Actor("octocat", "GithubAuthentication")
    assert actor.proof == token


@pytest.mark.requirement("R98")
@pytest.mark.parametrize(
    ("login", "role"), [("octocat", Role.DEVELOPER), ("mona", Role.VIEWER), ("stranger", Role.NONE)]
)
async def test_the_role_comes_of_the_rights_in_the_repository(rig: Rig, login: str, role: Role) -> None:
    token = rig.accounts.token(login)
    assert await rig.role(token) == role
    assert await rig.role(token, application="") is Role.VIEWER


@pytest.mark.requirement("R97", "R100")
async def test_an_application_of_another_repository_gives_no_role(rig: Rig) -> None:
    token = rig.accounts.token("octocat")
    assert await rig.role(token, owner="") is Role.NONE
    assert await rig.role(token, application="other") is Role.NONE
    assert await rig.role(token, owner="somebody-else") is Role.NONE
    assert await rig.role(token, "web", "acme/shop") is await rig.role(token)
    assert await rig.role(token, "shop", "acme/another") is Role.NONE
    assert await rig.strategy.role(Actor("octocat", "test"), "shop", "acme") is Role.NONE


@pytest.mark.parametrize(
    "given",
    ["", "hunter2", "gho_short", "Bearer", "stager_session_0123456789abcdef0123", "gho_\x00" + "a" * 20,
     "a" * 39, "A" * 40, "gho_" + "a" * 600],
)  # fmt: skip
async def test_what_isnt_a_token_of_githubs_isnt_sent_there(rig: Rig, given: str) -> None:
    for credentials in (bearer(given), Credentials("", {"github_token": given})):
        assert await rig.strategy.authenticate(credentials) is None
    assert rig.accounts.asked == 0


async def test_a_yes_is_cached_for_a_minute(rig: Rig) -> None:
    token = rig.accounts.token("octocat")
    assert await rig.known(token)
    assert await rig.role(token) is Role.DEVELOPER
    asked = rig.accounts.asked

    del rig.accounts.tokens[token]  # withdrawn
    await asyncio.sleep(CACHE_SECONDS - 1)
    assert await rig.known(token)
    assert await rig.role(token) is Role.DEVELOPER
    assert await rig.role(token, "SHOP", "Acme") is Role.DEVELOPER, "GitHub's names know no case"
    assert rig.accounts.asked == asked

    await asyncio.sleep(1)
    assert await rig.known(token) is None
    assert await rig.role(token) is Role.NONE


async def test_a_no_is_cached_for_a_moment(rig: Rig) -> None:
    token = rig.accounts.token("new")
    del rig.accounts.tokens[token]
    assert await rig.known(token) is None
    assert await rig.role(token) is Role.NONE
    asked = rig.accounts.asked

    rig.accounts.tokens[token] = "new"
    rig.accounts.rights["new", "acme/shop"] = Access.WRITE
    await asyncio.sleep(DENIED_CACHE_SECONDS - 1)
    assert await rig.known(token) is None
    assert await rig.role(token) is Role.NONE
    assert rig.accounts.asked == asked

    await asyncio.sleep(1)
    assert await rig.known(token)
    assert await rig.role(token) is Role.DEVELOPER


async def test_one_token_doesnt_answer_for_another(rig: Rig) -> None:
    pusher, reader = rig.accounts.token("octocat"), rig.accounts.token("mona")
    assert await rig.role(pusher) is Role.DEVELOPER
    assert await rig.role(reader) is Role.VIEWER
    for actor, name in ((await rig.known(pusher), "octocat"), (await rig.known(reader), "mona")):
        assert actor is not None
        assert actor.name == name


async def test_the_cache_is_bounded(rig: Rig) -> None:
    first = rig.accounts.token("octocat")
    assert await rig.known(first)
    for number in range(CACHE_SIZE):
        await rig.known(f"gho_guess{number:016d}")
    asked = rig.accounts.asked
    assert await rig.known(first)
    assert rig.accounts.asked == asked + 1, "the oldest was forgotten"
    assert await rig.known(f"gho_guess{CACHE_SIZE - 1:016d}") is None
    assert rig.accounts.asked == asked + 1, "the newest wasn't"


@pytest.mark.requirement("R98")
async def test_a_github_that_doesnt_answer_is_no_yes_and_no_no(rig: Rig) -> None:
    token = rig.accounts.token("octocat")
    rig.accounts.fault_mode = FaultMode.NEVER
    for question in (lambda: rig.known(token), lambda: rig.role(token)):
        with pytest.raises(Retry) as caught:
            await question()
        assert token not in repr(caught.value)

    rig.accounts.fault_mode = FaultMode.WELL
    assert await rig.known(token), "that was no answer"
    assert await rig.role(token) is Role.DEVELOPER


def test_without_a_github_no_user_is_known() -> None:
    with pytest.raises(Refused) as caught:
        GithubAuthentication(logins(None))
    assert caught.value.reason == "sign-in-unavailable"


@pytest.mark.requirement("R97", "R98")
async def test_only_users_with_push_access_launch() -> None:
    accounts = FakeAccounts()
    rig = Rig(accounts)
    shop = replace(SHOP, owner="acme")
    async with Harness([shop], logins=logins(accounts), authentication=[rig.strategy]).open() as harness:
        with structlog.testing.capture_logs() as logs:
            for login in ("octocat", "mona", "stranger"):
                actor = await harness.running.control_plane.identity.authenticator.authenticate(
                    bearer(accounts.token(login))
                )
                launch = harness.running.commands.launch(Launch("shop", login, {}), actor)
                if login == "octocat":
                    await launch
                    continue
                with pytest.raises(Refused):
                    await launch
            with pytest.raises(Refused) as unknown:
                await harness.running.control_plane.identity.authenticator.authenticate(
                    bearer("gho_nobody0000000000000000")
                )
            await harness.rest()
        assert unknown.value.status == 401
        [environment] = await harness.environments()
        assert environment.name == "octocat"
        entries = await harness.store.read(lambda tx: tx.audit_records(limit=100))
        for token in accounts.tokens:
            for place in (logs, entries, environment, harness.engine.there(), harness.outside):
                assert token not in repr(place)


def test_nothing_that_holds_a_token_shows_it() -> None:
    token = FakeAccounts().token("octocat")
    for holder in (bearer(token), Credentials("", {"github_token": token}), Actor("a", "b", proof=token)):
        assert token not in f"{holder!r} {holder}"
    assert token.encode() not in github._digest(token)
