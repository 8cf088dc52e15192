"""One comment on each pull request, whatever happens; never a second one."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

import aiohttp
import pytest

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused, Retry, StagerError
from stager.forges.github.account import GithubServer, with_token
from stager.forges.github.api.pull_requests import GithubPullRequests
from tests.doubles.github import GithubDouble, GithubPull
from tests.unit.forges.github.conftest import ENCODED, PASSWORD, USER, client_of

MARKER = "<!-- stager:shop -->"


@pytest.fixture
def pull(github: GithubDouble) -> GithubPull:
    return github.open_pull(github.add_repository("acme", "shop"), "feature/x")


def link(pull: GithubPull) -> ChangeLink:
    base = pull.base
    return ChangeLink(
        str(base.id), base.owner, base.name, pull.number, "main", pull.title, str(pull.author), "http://x"
    )


async def say(client: GithubPullRequests, pull: GithubPull, body: str, known: str = "") -> str:
    return await client.comment(link(pull), marker=MARKER, body=f"{body}\n{MARKER}", known=known)


def said(pull: GithubPull) -> list[str]:
    return [comment.body.removesuffix(f"\n{MARKER}") for comment in pull.comments]


@pytest.mark.requirement("R66", "R77", "R93")
async def test_r66_the_first_time_a_comment_is_made_and_then_it_is_edited(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull
) -> None:
    other = github.open_pull(pull.base, "other")
    known = await say(client, pull, "live")
    assert known == str(pull.comments[0].id)
    assert await say(client, pull, "refreshed", known) == known
    assert said(pull) == ["refreshed"]
    assert other.comments == []
    assert len(github.requested("POST")) == 1


async def test_the_marker_is_added_where_the_body_lacks_it(
    client: GithubPullRequests, pull: GithubPull
) -> None:
    await client.comment(link(pull), marker=MARKER, body="live", known="")
    assert pull.comments[0].body == f"live\n\n{MARKER}"


async def test_a_comment_whose_id_was_lost_is_found_by_its_marker_on_any_page(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull
) -> None:
    for n in range(230):
        github.add_comment(pull, f"remark {n}")
    ours = github.add_comment(pull, f"starting {MARKER}", author=github.login)
    assert await say(client, pull, "live") == str(ours.id)
    assert ours.body.startswith("live")
    assert github.requested("POST") == []


@pytest.mark.parametrize("status", [404, 410])
async def test_a_comment_that_was_deleted_is_made_again(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull, status: int
) -> None:
    known = await say(client, pull, "live")
    pull.comments.clear()
    github.fail("PATCH", known, status=status)
    fresh = await say(client, pull, "refreshed", known)
    assert fresh != known
    assert said(pull) == ["refreshed"]


async def test_one_that_is_deleted_between_finding_and_editing_is_made_again(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull
) -> None:
    await say(client, pull, "live")
    github.fail("PATCH", "/comments/", status=404)
    await say(client, pull, "refreshed")
    assert len(github.requested("POST")) == 2


@pytest.mark.parametrize("author", ["mallory", None])
async def test_a_strangers_comment_with_our_marker_is_left_alone(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull, author: str | None
) -> None:
    forged = github.add_comment(pull, MARKER, author=author)
    await say(client, pull, "live")
    assert forged.body == MARKER
    assert said(pull)[1] == "live"


@pytest.mark.parametrize("status", [403, 404])
async def test_our_account_is_requested_once_and_may_be_unknown(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull, status: int
) -> None:
    github.fail("GET", "/user$", status=status, times=9)
    ours = github.add_comment(pull, MARKER, author="stager[bot]")
    assert await say(client, pull, "live") == str(ours.id)
    assert await say(client, pull, "refreshed") == str(ours.id)
    assert len(github.requested("GET", "/user")) == 1


async def test_wrong_credentials_arent_an_unknown_name(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull
) -> None:
    forged = github.add_comment(pull, MARKER, author="mallory")
    github.fail("GET", "/user$", status=401)
    with pytest.raises(Refused):
        await say(client, pull, "live")
    await say(client, pull, "live")
    assert forged.body == MARKER


async def test_our_login_is_compared_without_case(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull
) -> None:
    ours = github.add_comment(pull, MARKER, author=github.login.upper())
    assert await say(client, pull, "live") == str(ours.id)


async def test_many_at_once_make_one_comment(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull
) -> None:
    other = github.open_pull(pull.base, "other")
    known = await asyncio.gather(*(say(client, p, "live") for p in [pull, other] * 10))
    assert len(set(known)) == 2
    assert said(pull) == said(other) == ["live"]


AMBIGUOUS: list[dict[str, Any]] = [
    {"drop": True},
    {"truncate": True},
    {"status": 500},
    {"status": 502, "body": "<html>"},
    {"status": 201, "body": ""},
    {"status": 201, "body": "{}"},
    {"delay": 2.0},
]


@pytest.fixture
def impatient(github: GithubDouble, session: aiohttp.ClientSession) -> GithubPullRequests:
    return client_of(
        with_token(
            session, GithubServer(github.api_url, github.web_url, timeout=0.5, pause=0.01), USER, PASSWORD
        )
    )


@pytest.mark.parametrize("failure", AMBIGUOUS)
async def test_a_comment_that_was_made_although_the_answer_was_lost_is_found(
    github: GithubDouble, impatient: GithubPullRequests, pull: GithubPull, failure: dict[str, Any]
) -> None:
    github.fail("POST", "/comments$", after=True, **failure)
    if "delay" in failure:
        with pytest.raises(Retry):  # It isn't there yet; but it is when we are asked again.
            await say(impatient, pull, "live")
        await asyncio.sleep(2.0)
    known = await say(impatient, pull, "live")
    assert said(pull) == ["live"]
    assert known == str(pull.comments[0].id)
    assert len(github.requested("POST")) == 1


@pytest.mark.parametrize("failure", AMBIGUOUS[:-1])
async def test_a_comment_that_was_not_made_is_not_sent_again_blindly(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull, failure: dict[str, Any]
) -> None:
    how = {"status": 500} if "truncate" in failure else failure
    github.fail("POST", "/comments$", **how)
    with pytest.raises(Retry):
        await say(client, pull, "live")
    assert [request.method for request in github.requests] == ["GET", "GET", "POST", "GET"]
    await say(client, pull, "live")
    assert said(pull) == ["live"]


async def test_an_edit_is_tried_again(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull
) -> None:
    known = await say(client, pull, "live")
    github.fail("PATCH", known, status=502, times=2, after=True)
    assert await say(client, pull, "refreshed", known) == known
    assert said(pull) == ["refreshed"]


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_a_list_or_an_edit_that_fails_makes_no_second_comment(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull, method: str
) -> None:
    await say(client, pull, "live")
    github.fail(method, "/comments", status=503, times=3)
    with pytest.raises(Retry):
        await say(client, pull, "refreshed")
    assert len(github.requested("POST")) == 1


async def test_an_unreadable_list_makes_no_second_comment(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull
) -> None:
    await say(client, pull, "live")
    github.fail("GET", "/comments", status=200, body='[{"id": "?"}]')
    with pytest.raises(Retry):
        await say(client, pull, "refreshed")
    assert len(github.requested("POST")) == 1


@pytest.mark.parametrize("known", ["nonsense", "../../../user", "999"])
async def test_an_id_that_is_none_of_ours_is_as_good_as_lost(
    client: GithubPullRequests, pull: GithubPull, known: str
) -> None:
    assert await say(client, pull, "live", known) == str(pull.comments[0].id)


@pytest.mark.parametrize(
    ("failure", "reason", "words"),
    [
        (
            {"status": 401, "body": '{"message": "Bad credentials"}'},
            "forge-credentials-wrong",
            ["Bad credentials", "/settings/tokens"],
        ),
        (
            {
                "status": 403,
                "body": '{"message": "Resource not accessible by personal access token"}',
                "headers": {"X-Accepted-GitHub-Permissions": "issues=write; pull_requests=write"},
            },
            "forge-forbidden",
            ["Resource not accessible by personal access token", "issues=write; pull_requests=write"],
        ),
        ({"status": 404, "body": '{"message": "Not Found"}'}, "forge-not-found", ["Not Found", "access"]),
        (
            {
                "status": 422,
                "body": '{"message": "Validation Failed", "errors": [{"message": "body is too long"}]}',
            },
            "forge-refused",
            ["Validation Failed", "body is too long"],
        ),
        (
            {"status": 422, "body": "no", "headers": {"content-type": "text/plain"}},
            "forge-refused",
            ["POST /repos/acme/shop/issues/1/comments"],
        ),
    ],
)
async def test_a_refusal_has_githubs_own_sentence_and_what_to_do(
    github: GithubDouble,
    client: GithubPullRequests,
    pull: GithubPull,
    failure: dict[str, Any],
    reason: str,
    words: list[str],
) -> None:
    github.fail("POST", "/comments$", **failure)
    with pytest.raises(Refused) as caught:
        await say(client, pull, "live")
    assert (caught.value.status, caught.value.reason) == (failure["status"], reason)
    for word in words:
        assert word in str(caught.value)
    assert len(github.requested("POST")) == 1


async def test_a_rate_limit_on_a_new_comment_is_no_doubt(
    github: GithubDouble, client: GithubPullRequests, pull: GithubPull
) -> None:
    github.fail("POST", "/comments$", status=403, headers={"retry-after": "30"})
    with pytest.raises(Retry, match="allowed in 30 s"):
        await say(client, pull, "live")
    assert github.requests[-1].method == "POST"


@pytest.mark.parametrize("failure", [*AMBIGUOUS[:-1], {"status": 401}, {"status": 403}, {"status": 422}])
async def test_credentials_are_in_no_error_and_no_log(
    github: GithubDouble,
    client: GithubPullRequests,
    pull: GithubPull,
    failure: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = [PASSWORD, ENCODED]
    github.fail("GET", "/comments$", times=99, **failure)
    with pytest.raises(StagerError) as caught:
        await say(client, pull, "live")
    printed = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value)) + caplog.text
    assert not [secret for secret in secrets if secret in printed]
    # A logger that shows causes with their values would show the request's headers.
    error = caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
