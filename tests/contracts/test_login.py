"""What every forge promises where people sign in with their accounts of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from stager.control.identity.secrets import new_secret
from stager.domain.errors import Refused, Retry
from stager.domain.source import Access
from stager.forges.github.account import GithubServer
from stager.forges.github.sign_in import GithubSignIn, OAuthClient
from stager.ports.login import Accounts, AuthorizationRequest, Identity, Pending
from stager.testing.fakes.faults import FaultMode
from stager.testing.fakes.login import FakeAccounts
from tests.doubles.github_login import CALLBACK, ID, SECRET, GithubLogin


class People(Protocol):
    """The accounts at the forge, and its faults."""

    rights: dict[tuple[str, str], Access]
    agreed: dict[str, str | None]
    fault_mode: FaultMode

    def token(self, login: str) -> str: ...
    def agree(self, login: str, address: str) -> str: ...


@dataclass
class UnderTest:
    """
    Args:
        people: who has accounts there.
        make: returns the accounts, with a timeout in seconds, and with or without an OAuth application.
    """

    people: People
    make: Callable[[float, bool], Accounts]

    @property
    def accounts(self) -> Accounts:
        return self.make(60.0, True)


@pytest.fixture(name="there", params=["memory", "github"])
async def made(request: pytest.FixtureRequest) -> AsyncIterator[UnderTest]:
    if request.param == "memory":
        fake = FakeAccounts()

        def in_memory(_: float, known: bool) -> FakeAccounts:
            fake.is_ready = known
            return fake

        yield UnderTest(fake, in_memory)
        return
    async with GithubLogin() as double, aiohttp.ClientSession() as session:

        def over_http(seconds: float, known: bool) -> GithubSignIn:
            server = GithubServer(double.url, double.url, timeout=seconds, pause=0.001)
            return GithubSignIn(session, server, lambda: OAuthClient(ID, SECRET) if known else None)

        yield UnderTest(double, over_http)


def asked() -> AuthorizationRequest:
    return AuthorizationRequest(new_secret(), new_secret(), CALLBACK, new_secret())


async def test_the_url_has_the_request_and_no_secret(there: UnderTest) -> None:
    one = asked()
    address = await there.accounts.address(one)

    query = parse_qs(urlsplit(address).query)
    assert query["state"] == [one.state]
    assert query["redirect_uri"] == [CALLBACK]
    assert query["code_challenge"] == [one.challenge]
    assert one.verifier not in address
    assert SECRET not in address


async def test_a_code_says_who_came_back(there: UnderTest) -> None:
    one = asked()
    code = there.people.agree("octocat", await there.accounts.address(one))
    identity = await there.accounts.exchange(code, one)

    assert identity.name == "octocat"
    assert identity.proof
    assert identity.proof not in repr(identity)
    assert await there.accounts.who(identity.proof) == "octocat"


async def test_a_code_is_good_once(there: UnderTest) -> None:
    one = asked()
    code = there.people.agree("octocat", await there.accounts.address(one))
    await there.accounts.exchange(code, one)
    with pytest.raises(Refused) as caught:
        await there.accounts.exchange(code, one)
    assert caught.value.reason == "sign-in-failed"


async def test_a_code_works_only_for_the_session_that_requested_it(there: UnderTest) -> None:
    one = asked()
    for changed in (replace(one, verifier=new_secret()), replace(one, redirect=f"{CALLBACK}/elsewhere")):
        code = there.people.agree("octocat", await there.accounts.address(one))
        with pytest.raises(Refused):
            await there.accounts.exchange(code, changed)


async def test_an_unknown_code(there: UnderTest) -> None:
    with pytest.raises(Refused):
        await there.accounts.exchange("made-up", asked())


async def test_a_device_waits_for_the_approval(there: UnderTest) -> None:
    begun = await there.accounts.begin()
    assert begun.interval > 0
    assert begun.expires_in > 0
    assert begun.secret not in repr(begun)
    assert isinstance(await there.accounts.poll(begun.secret), Pending)

    there.people.agreed[begun.user_code] = "octocat"
    identity = await there.accounts.poll(begun.secret)
    assert isinstance(identity, Identity)
    assert await there.accounts.who(identity.proof) == identity.name == "octocat"
    with pytest.raises(Refused):
        await there.accounts.poll(begun.secret)


async def test_two_devices_are_independent(there: UnderTest) -> None:
    first, second = await there.accounts.begin(), await there.accounts.begin()
    there.people.agreed[second.user_code] = "octocat"
    assert isinstance(await there.accounts.poll(first.secret), Pending)
    assert isinstance(await there.accounts.poll(second.secret), Identity)


async def test_a_no_to_a_device_is_its_end(there: UnderTest) -> None:
    begun = await there.accounts.begin()
    there.people.agreed[begun.user_code] = None
    with pytest.raises(Refused) as caught:
        await there.accounts.poll(begun.secret)
    assert caught.value.reason == "sign-in-denied"
    with pytest.raises(Refused):
        await there.accounts.poll(begun.secret)


async def test_an_unknown_device(there: UnderTest) -> None:
    with pytest.raises(Refused):
        await there.accounts.poll("made-up")


@pytest.mark.parametrize("access", Access)
async def test_a_users_access_to_a_repository(there: UnderTest, access: Access) -> None:
    there.people.rights["octocat", "acme/shop"] = access
    token = there.people.token("octocat")

    assert await there.accounts.access(token, "acme", "shop") is access
    assert await there.accounts.access(there.people.token("mona"), "acme", "shop") is Access.NONE
    assert await there.accounts.access(token, "acme", "other") is Access.NONE


@pytest.mark.parametrize("token", ["made-up", "gho_nobody0000000000000000"])
async def test_an_unknown_token(there: UnderTest, token: str) -> None:
    there.people.rights["octocat", "acme/shop"] = Access.ADMIN
    assert await there.accounts.who(token) == ""
    assert await there.accounts.access(token, "acme", "shop") is Access.NONE


async def test_who_doesnt_answer_says_neither_yes_nor_no(there: UnderTest) -> None:
    one, begun = asked(), await there.accounts.begin()
    code = there.people.agree("octocat", await there.accounts.address(one))
    token = there.people.token("octocat")
    there.people.agreed[begun.user_code] = "octocat"
    there.people.fault_mode = FaultMode.NEVER
    accounts = there.make(0.2, True)
    for question in (
        lambda: accounts.who(token),
        lambda: accounts.access(token, "acme", "shop"),
        lambda: accounts.exchange(code, one),
        accounts.begin,
        lambda: accounts.poll(begun.secret),
    ):
        with pytest.raises(Retry) as caught:
            await question()
        assert token not in repr(caught.value)

    there.people.fault_mode = FaultMode.WELL
    assert await there.accounts.who(token) == "octocat", "a no wasn't remembered"


async def test_without_credentials_nothing_can_be_requested(there: UnderTest) -> None:
    accounts = there.make(60.0, False)
    assert not accounts.is_ready
    for question in (
        lambda: accounts.address(asked()),
        lambda: accounts.exchange("code", asked()),
        accounts.begin,
        lambda: accounts.poll("secret"),
    ):
        with pytest.raises(Refused) as caught:
            await question()
        assert (caught.value.reason, caught.value.status) == ("sign-in-unavailable", 404)


async def test_the_owner_of_a_token_needs_no_credentials(there: UnderTest) -> None:
    assert await there.make(60.0, False).who(there.people.token("octocat")) == "octocat"
