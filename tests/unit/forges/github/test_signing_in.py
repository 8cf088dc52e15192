"""GitHub's peculiarities at a sign-in: errors with status 200, forms where there should be JSON, and no
answer at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web

from stager.domain.errors import Refused, Retry
from stager.domain.source import Access
from stager.forges.github.account import GithubServer
from stager.forges.github.sign_in import SLOWER_BY, GithubSignIn, OAuthClient
from stager.ports.login import AuthorizationRequest, Identity, Pending
from stager.testing.fakes.faults import FaultMode
from tests.doubles.github_login import CALLBACK, ID, SECRET, GithubLogin

TOKEN, DEVICE = "/login/oauth/access_token", "/login/device/code"
ASKED = AuthorizationRequest("a-state", "v" * 43, CALLBACK)
GIVEN = "gho_0123456789abcdefgh"


@dataclass
class Rig:
    """A GitHub, and who signs in there."""

    github: GithubLogin
    session: aiohttp.ClientSession

    def accounts(self, client: OAuthClient | None = None, *, seconds: float = 60.0) -> GithubSignIn:
        server = GithubServer(self.github.url, self.github.url, timeout=seconds, pause=0.001)
        return GithubSignIn(self.session, server, lambda: client or OAuthClient(ID, SECRET))

    def will_answer(self, path: str, *answers: web.StreamResponse | str) -> None:
        self.github.answers[path] = list(answers)


@pytest.fixture(name="rig")
async def made_scene() -> AsyncIterator[Rig]:
    async with GithubLogin() as github, aiohttp.ClientSession() as session:
        yield Rig(github, session)


def questions(accounts: GithubSignIn) -> Iterable[Callable[[], Awaitable[object]]]:
    """All that it takes an OAuth application to ask."""
    yield lambda: accounts.exchange("a-code", ASKED)
    yield lambda: accounts.poll("a-device")
    yield accounts.begin


async def refused_exchange(rig: Rig, client: OAuthClient | None = None, code: str = "a-code") -> Refused:
    with pytest.raises(Refused) as caught:
        await rig.accounts(client).exchange(code, ASKED)
    assert SECRET not in repr(caught.value)
    assert code not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("error", "reason", "status", "words"),
    [
        ("bad_verification_code", "sign-in-failed", 403, "unknown to GitHub"),
        ("incorrect_client_credentials", "sign-in-failed", 403, "`github.client_secret`"),
        ("redirect_uri_mismatch", "sign-in-failed", 403, "callback URL"),
        ("access_denied", "sign-in-denied", 403, "denied at GitHub"),
        ("application_suspended", "sign-in-failed", 403, "'application_suspended'"),
        ("<script>" * 50, "sign-in-failed", 403, "<script>"),
    ],
)
async def test_an_error_with_status_200_is_one(
    rig: Rig, error: str, reason: str, status: int, words: str
) -> None:
    rig.will_answer(TOKEN, error)
    refused = await refused_exchange(rig)
    assert (refused.reason, refused.status) == (reason, status)
    assert words in refused.hint
    assert len(refused.hint) < 200


async def test_what_github_itself_finds_wrong(rig: Rig) -> None:
    assert "unknown to GitHub" in (await refused_exchange(rig)).hint
    wrong = OAuthClient(ID, "another-secret")
    assert "`github.client_secret`" in (await refused_exchange(rig, wrong)).hint


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_an_error_with_its_own_status_is_one_as_well(rig: Rig, status: int) -> None:
    error = {"error": "bad_verification_code"}
    rig.will_answer(TOKEN, web.json_response(error, status=status))
    assert "unknown to GitHub" in (await refused_exchange(rig)).hint
    rig.will_answer(DEVICE, web.json_response({"error": "Not Found"}, status=status))
    with pytest.raises(Refused) as caught:
        await rig.accounts().begin()
    assert "'Not Found'" in caught.value.hint


FORM = f"access_token={GIVEN}&scope=repo&token_type=bearer"
STRANGE: list[Callable[[], web.Response]] = [
    lambda: web.Response(text=FORM, content_type="application/x-www-form-urlencoded"),
    lambda: web.Response(text="<html>Unicorn!</html>", content_type="text/html", status=502),
    lambda: web.Response(text="<html>Sign in to the hotel</html>", content_type="text/html"),
    lambda: web.Response(text="", status=204),
    lambda: web.json_response([GIVEN]),
    lambda: web.json_response(None),
    lambda: web.json_response({"access_token": ""}),
    lambda: web.json_response({"access_token": f"{GIVEN}\r\nX-Injected: 1"}),
    lambda: web.json_response({"access_token": {"nested": GIVEN}}),
    lambda: web.json_response({"message": "API rate limit exceeded"}, status=429),
    lambda: web.Response(status=302, headers={"Location": "http://elsewhere.test/"}),
    lambda: web.Response(body=b"\xff\xfe{", content_type="application/json"),
]


@pytest.mark.parametrize("strange", STRANGE)
async def test_what_isnt_an_answer_is_no_token(rig: Rig, strange: Callable[[], web.Response]) -> None:
    rig.will_answer(TOKEN, strange(), strange())
    rig.will_answer(DEVICE, strange())
    for question in questions(rig.accounts()):
        with pytest.raises(Retry) as caught:
            await question()
        assert GIVEN not in f"{caught.value!r} {caught.value.__cause__!r}"
        # It would show the request with its secrets.
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert {path for path, _ in rig.github.asked} == {TOKEN, DEVICE}, "nobody was followed elsewhere"


async def test_a_token_counts_for_what_github_says_it_does(rig: Rig) -> None:
    """A user may grant less than was requested. What their token lets them do is
    what counts: repositories that it can't see aren't there."""
    login = rig.github
    token = login.token("octocat")
    login.rights["octocat", "acme/open"] = Access.WRITE
    for less in ({"scope": ""}, {"scope": None}, {}, {"scope": "read:user"}):
        rig.will_answer(TOKEN, web.json_response({"access_token": token, "token_type": "bearer", **less}))
        identity = await rig.accounts().exchange("a-code", ASKED)
        assert identity == Identity("octocat", token)
    assert await rig.accounts().access(token, "acme", "open") is Access.WRITE
    assert await rig.accounts().access(token, "acme", "closed") is Access.NONE


async def test_a_token_that_is_withdrawn_already_is_rejected(rig: Rig) -> None:
    rig.will_answer(TOKEN, web.json_response({"access_token": GIVEN, "token_type": "bearer"}))
    with pytest.raises(Refused):
        await rig.accounts().exchange("a-code", ASKED)


@pytest.mark.parametrize(
    ("more", "pending"),
    [
        ({"error": "authorization_pending"}, Pending(0.0)),
        ({"error": "slow_down", "interval": 10}, Pending(10.0)),
        ({"error": "slow_down", "interval": "10"}, Pending(10.0)),
        ({"error": "slow_down"}, Pending(0.0, SLOWER_BY)),
        ({"error": "slow_down", "interval": "soon"}, Pending(0.0, SLOWER_BY)),
        ({"error": "slow_down", "interval": -3}, Pending(0.0, SLOWER_BY)),
    ],
)
async def test_a_device_that_waits(rig: Rig, more: dict[str, object], pending: Pending) -> None:
    rig.will_answer(TOKEN, web.json_response(more))
    assert await rig.accounts().poll("a-device") == pending


@pytest.mark.parametrize(
    ("error", "reason", "status"),
    [
        ("expired_token", "sign-in-expired", 410),
        ("access_denied", "sign-in-denied", 403),
        ("incorrect_device_code", "sign-in-failed", 403),
        ("incorrect_client_credentials", "sign-in-failed", 403),
        ("unsupported_grant_type", "sign-in-failed", 403),
        ("device_flow_disabled", "sign-in-unavailable", 404),
    ],
)
async def test_the_end_of_a_device(rig: Rig, error: str, reason: str, status: int) -> None:
    rig.will_answer(TOKEN, error)
    with pytest.raises(Refused) as caught:
        await rig.accounts().poll("a-device")
    assert (caught.value.reason, caught.value.status) == (reason, status)
    assert "a-device" not in repr(caught.value)


async def test_an_application_without_the_device_flow(rig: Rig) -> None:
    rig.github.device_flow = False
    with pytest.raises(Refused) as caught:
        await rig.accounts().begin()
    assert (caught.value.reason, caught.value.status) == ("sign-in-unavailable", 404)


async def test_the_url_for_the_code_is_at_the_provider(rig: Rig) -> None:
    begun = {"device_code": "d", "user_code": "ABCD-1234", "verification_uri": "http://elsewhere.test/device"}
    rig.will_answer(DEVICE, web.json_response(begun))
    with pytest.raises(Refused):
        await rig.accounts().begin()


async def test_a_device_needs_no_secret(rig: Rig) -> None:
    begun = await rig.accounts().begin()
    await rig.accounts().poll(begun.secret)
    assert SECRET not in repr(rig.github.asked)
    assert [form["client_id"] for _, form in rig.github.asked] == [ID, ID]


async def test_a_github_that_answers_a_byte_at_a_time_is_given_up(rig: Rig) -> None:
    """Each byte comes in time, and the whole never does."""
    rig.github.fault_mode = FaultMode.SLOW
    accounts = rig.accounts(seconds=0.5)
    for question in questions(accounts):
        with pytest.raises(Retry) as caught:
            await question()
        assert caught.value.reason == "sign-in-away"


async def test_a_github_that_doesnt_answer_is_reported(rig: Rig) -> None:
    async with GithubLogin() as gone:
        pass
    accounts = Rig(gone, rig.session).accounts()
    for question in questions(accounts):
        with pytest.raises(Retry) as caught:
            await question()
        assert caught.value.reason == "sign-in-away"
        assert "Signing in with GitHub fails at present" in caught.value.message
    with pytest.raises(Retry):
        await accounts.who(GIVEN)
