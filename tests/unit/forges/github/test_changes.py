"""What the client says of pull requests is certain, or it says `Retry`."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from stager.domain.errors import Retry
from stager.domain.source import Repository, Trust
from stager.forges.github.account import GithubServer, with_token
from stager.forges.github.api.pull_requests import GithubPullRequests
from stager.forges.github.api.rest import PullListCache
from stager.forges.github.webhooks import payloads
from stager.version import __version__
from tests.doubles.github import GithubDouble, GithubRepository
from tests.unit.forges.github.conftest import ENCODED, PASSWORD, USER, client_of


def named(repository: GithubRepository) -> Repository:
    return Repository(f"github:{repository.id}", repository.owner, repository.name)


# One pull request.


async def test_a_pull_request_is_read_as_it_is_now(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository
) -> None:
    pull = github.open_pull(shop, "feature/x")
    first = await client.change(named(shop), pull.number)
    github.push(pull, "b" * 40)
    github.close(pull, merged=True)
    second = await client.change(named(shop), pull.number)
    assert first is not None
    assert second is not None
    assert (first.is_open, first.merged, first.trust) == (True, False, Trust.TRUSTED)
    assert (second.is_open, second.merged, second.head_sha) == (False, True, "b" * 40)
    assert first.is_older_than(second)


@pytest.mark.requirement("R77", "R80")
async def test_r80_requests_bear_the_credentials_the_version_and_our_name(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository
) -> None:
    github.open_pull(shop, "feature/x")
    await client.change(named(shop), 1)
    [request] = github.requests
    assert request.headers["authorization"] == f"Basic {ENCODED}"
    assert request.headers["x-github-api-version"] == "2022-11-28"
    assert request.headers["user-agent"] == f"stager/{__version__}"
    assert request.headers["accept"] == "application/vnd.github.v3+json"


async def test_without_credentials_none_are_sent(session: aiohttp.ClientSession) -> None:
    async with GithubDouble("", "") as github:
        shop = github.add_repository("acme", "shop")
        client = client_of(with_token(session, GithubServer(github.api_url, github.web_url), "", ""))
        assert await client.open_changes(named(shop)) == []
        assert "authorization" not in {name.lower() for name in github.requests[0].headers}


async def test_none_only_where_the_repository_is_there_and_the_pull_request_is_not(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository
) -> None:
    assert await client.change(named(shop), 7) is None
    assert [request.path for request in github.requests] == [
        "/api/v3/repos/acme/shop/pulls/7",
        "/api/v3/repos/acme/shop",
    ]


async def test_a_token_that_lost_its_access_is_no_answer(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository
) -> None:
    github.open_pull(shop, "feature/x")
    shop.visible = False
    with pytest.raises(Retry) as caught:
        await client.change(named(shop), 1)
    assert caught.value.reason == "forge-not-found"
    with pytest.raises(Retry):
        await client.open_changes(named(shop))


@pytest.mark.parametrize("number", [1, 2])
async def test_another_repository_of_the_same_name_is_no_answer(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository, number: int
) -> None:
    github.open_pull(shop, "feature/x")
    meant = Repository("github:5", "acme", "shop")
    with pytest.raises(Retry, match="not github:5"):
        await client.change(meant, number)
    with pytest.raises(Retry, match="not github:5"):
        await client.open_changes(meant)


async def test_a_renamed_repository_is_followed(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository
) -> None:
    github.open_pull(shop, "feature/x")
    meant, shop.name = named(shop), "store"
    moved = {"location": f"{github.api_url}/repos/acme/store/pulls/1"}
    github.fail("GET", "/repos/acme/shop/pulls/1$", status=301, headers=moved)
    change = await client.change(meant, 1)
    assert change is not None
    assert change.repository == named(shop)


async def test_a_redirect_to_elsewhere_does_not_get_our_credentials(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository
) -> None:
    async with GithubDouble("", "") as elsewhere:
        moved = {"location": f"{elsewhere.api_url}/repos/acme/shop/pulls/1"}
        github.fail("GET", "/pulls/1$", status=301, headers=moved)
        github.fail("GET", "/repos/acme/shop$", status=301, headers=moved)
        with pytest.raises(Retry):
            await client.change(named(shop), 1)
        assert elsewhere.requests
        assert not [request for request in elsewhere.requests if "authorization" in request.headers]


async def test_another_pull_request_than_requested_is_no_answer(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository
) -> None:
    other = github.event("opened", github.open_pull(shop, "feature/x"))["pull_request"]
    github.fail("GET", "/pulls/2$", status=200, body=json.dumps(other))
    with pytest.raises(Retry, match="is 1, not 2"):
        await client.change(named(shop), 2)


FAILURES: list[tuple[dict[str, Any], str]] = [
    ({"status": 200, "body": ""}, "forge-answer-unreadable"),
    ({"status": 204, "body": ""}, "forge-answer-unreadable"),
    ({"status": 200, "body": "{}"}, "forge-answer-unreadable"),
    ({"status": 200, "body": "null"}, "forge-answer-unreadable"),
    ({"status": 200, "body": '[{"number": 1}]'}, "forge-answer-unreadable"),
    ({"status": 200, "body": "<html>"}, "forge-answer-unreadable"),
    ({"status": 200, "body": "[" * 100_000}, "forge-answer-unreadable"),
    ({"status": 200, "headers": {"content-type": "text/html; charset=nonsense"}}, "forge-answer-unreadable"),
    ({"status": 304, "body": ""}, "forge-failing"),
    ({"status": 401, "body": '{"message": "Bad credentials"}'}, "forge-credentials-wrong"),
    ({"status": 403}, "forge-forbidden"),
    ({"status": 418}, "forge-refused"),
    ({"status": 451}, "forge-refused"),
    ({"status": 500, "body": ""}, "forge-failing"),
    ({"status": 502, "body": "<html>"}, "forge-answer-unreadable"),
    ({"status": 503}, "forge-failing"),
    ({"status": 599}, "forge-answer-unreadable"),
    ({"drop": True}, "forge-unreachable"),
    ({"truncate": True}, "forge-unreachable"),
]


@pytest.mark.parametrize(("failure", "reason"), FAILURES)
async def test_no_failing_empty_or_partial_answer_counts(
    github: GithubDouble,
    client: GithubPullRequests,
    shop: GithubRepository,
    failure: dict[str, Any],
    reason: str,
) -> None:
    github.open_pull(shop, "feature/x")
    github.fail("GET", "/repos/", times=99, **failure)
    with pytest.raises(Retry) as caught:
        await client.open_changes(named(shop))
    assert caught.value.reason == reason
    with pytest.raises(Retry):
        await client.change(named(shop), 1)
    with pytest.raises(Retry):
        await client.repository("acme", "shop")


async def test_a_slow_answer_is_not_waited_for_for_ever(
    github: GithubDouble, session: aiohttp.ClientSession, shop: GithubRepository
) -> None:
    client = client_of(
        with_token(
            session, GithubServer(github.api_url, github.web_url, timeout=0.05, pause=0.01), USER, PASSWORD
        )
    )
    github.fail("GET", "/pulls$", times=3, delay=5)
    with pytest.raises(Retry) as caught:
        await client.open_changes(named(shop))
    assert caught.value.reason == "forge-unreachable"


async def test_a_forge_that_is_not_there_is_unreachable(session: aiohttp.ClientSession) -> None:
    client = client_of(
        with_token(
            session, GithubServer("http://127.0.0.1:1", "http://127.0.0.1:1", pause=0.01), USER, PASSWORD
        )
    )
    with pytest.raises(Retry) as caught:
        await client.open_changes(Repository("github:1", "acme", "shop"))
    assert caught.value.reason == "forge-unreachable"


@pytest.mark.parametrize("failure", [{"status": 503}, {"drop": True}, {"status": 200, "body": "<html>"}])
async def test_what_fails_in_passing_is_tried_again_at_once(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository, failure: dict[str, Any]
) -> None:
    github.open_pull(shop, "feature/x")
    github.fail("GET", "/pulls$", times=2, **failure)
    assert len(await client.open_changes(named(shop))) == 1
    assert len(github.requests) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 422])
async def test_a_refusal_is_not_tried_again(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository, status: int
) -> None:
    github.fail("GET", "/pulls$", times=9, status=status)
    with pytest.raises(Retry):
        await client.open_changes(named(shop))
    assert len(github.requests) == 1


# Every open one.


@pytest.mark.requirement("R68")
@pytest.mark.parametrize("count", [0, 1, 100, 101, 250])
async def test_r68_open_pull_requests_are_listed_whole(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository, count: int
) -> None:
    github.open_pull(github.add_repository("acme", "other"), "of-another-repository")
    github.close(github.open_pull(shop, "closed"))
    pulls = [github.open_pull(shop, f"branch-{n}") for n in range(count)]
    changes = await client.open_changes(named(shop))
    assert [(c.number, c.head_ref) for c in changes] == [(p.number, p.ref) for p in pulls]


async def test_a_repeated_request_costs_nothing_and_still_returns_changes(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository
) -> None:
    pulls = [github.open_pull(shop, f"branch-{n}") for n in range(150)]
    first = await client.open_changes(named(shop))
    assert await client.open_changes(named(shop)) == first
    assert [request.status for request in github.requests] == [200, 200, 304, 304]
    github.push(pulls[149], "b" * 40)
    third = await client.open_changes(named(shop))
    assert [request.status for request in github.requests[4:]] == [304, 200]
    assert third[149].head_sha == "b" * 40
    assert third[:149] == first[:149]


@pytest.mark.parametrize("failure", [failure for failure, _ in FAILURES if failure.get("status") != 304])
async def test_a_failure_on_a_later_page_fails_the_whole(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository, failure: dict[str, Any]
) -> None:
    for n in range(150):
        github.open_pull(shop, f"branch-{n}")
    first = await client.open_changes(named(shop))
    github.fail("GET", "/pulls$", query={"page": "2"}, times=99, **failure)
    with pytest.raises(Retry):
        await client.open_changes(named(shop))
    assert len(first) == 150


async def test_one_unreadable_item_fails_the_whole(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository
) -> None:
    good = github.event("opened", github.open_pull(shop, "feature/x"))["pull_request"]
    github.fail("GET", "/pulls$", times=3, status=200, body=json.dumps([good, good | {"head": None}]))
    with pytest.raises(Retry, match="head"):
        await client.open_changes(named(shop))


@pytest.mark.requirement("R124")
async def test_forks_deleted_or_not_do_not_make_the_list_unreadable(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository
) -> None:
    fork = github.add_repository("stranger", "shop")
    github.open_pull(shop, "-rf", fork=fork, title="\u202e$(reboot)", author=None)
    github.open_pull(shop, "feature/x").head = None
    changes = await client.open_changes(named(shop))
    assert [change.trust for change in changes] == [Trust.FORK, Trust.FORK]


async def test_a_link_to_elsewhere_does_not_get_our_credentials(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository
) -> None:
    pull = github.event("opened", github.open_pull(shop, "feature/x"))["pull_request"]
    async with GithubDouble("", "") as elsewhere:
        link = f'<{elsewhere.api_url}/repos/acme/shop/pulls?page=2>; rel="next"'
        for page in ([pull], []):
            github.fail("GET", "/pulls$", status=200, body=json.dumps(page), headers={"link": link})
        with pytest.raises(Retry, match="is incomplete"):
            await client.open_changes(named(shop))
        assert [request.query["page"] for request in github.requests] == ["1", "2"]
        assert elsewhere.requests == []


def test_the_cache_keeps_few_pages_and_of_each_only_what_is_read() -> None:
    github = GithubDouble()
    pull = github.event("opened", github.open_pull(github.add_repository("acme", "shop"), "x"))[
        "pull_request"
    ]
    cache = PullListCache(limit=2)
    for n in range(3):
        cache[f"https://api.github.com/repos/acme/shop/pulls?page={n}"] = ("tag", None, [pull], None)
    cache["https://api.github.com/user"] = ("tag", None, {"login": "octocat"}, None)
    assert [url[-1] for url in cache] == ["1", "2"]
    [kept] = cache["https://api.github.com/repos/acme/shop/pulls?page=2"][2]
    assert "id" in pull
    assert "id" not in kept
    assert kept["number"] == pull["number"]


def test_the_cache_keeps_what_rules_look_at_but_not_every_long_description() -> None:
    github = GithubDouble()
    pull = github.open_pull(github.add_repository("acme", "shop"), "x")
    pull.body, pull.labels, pull.draft = "x" * 60_000, ["preview"], True
    listed = github.event("opened", pull)["pull_request"]
    cache = PullListCache(text=50_000)
    for n in range(3):
        cache[f"https://api.github.com/repos/acme/shop/pulls?page={n}"] = ("tag", None, [listed], None)
    assert [url[-1] for url in cache] == ["1", "2"]
    [kept] = cache["https://api.github.com/repos/acme/shop/pulls?page=2"][2]
    assert payloads.read_change(kept) == payloads.read_change(listed)
    assert payloads.read_change(kept).labels == ("preview",)


# A repository.


async def test_a_repository_is_found_by_its_name(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository
) -> None:
    assert await client.repository("acme", "shop") == named(shop)
    assert await client.repository("acme", "none") is None
    assert await client.repository("acme", "a/../b?c#d") is None


# Rate limits.


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        ({"status": 403, "headers": {"retry-after": "57"}}, 57),
        ({"status": 429, "headers": {"retry-after": "57"}}, 57),
        ({"status": 429}, 60),
        ({"status": 403, "body": '{"message": "You have exceeded a secondary rate limit."}'}, 60),
        ({"status": 403, "body": '{"message": "You have triggered an abuse detection mechanism."}'}, 60),
        (
            {
                "status": 403,
                "headers": {
                    "x-ratelimit-limit": "5000",
                    "x-ratelimit-remaining": "0",
                    "x-ratelimit-reset": "1767225660",
                    "date": "Thu, 01 Jan 2026 00:00:00 GMT",
                },
            },
            60,
        ),
    ],
)
async def test_a_rate_limit_is_heeded(
    github: GithubDouble,
    client: GithubPullRequests,
    shop: GithubRepository,
    failure: dict[str, Any],
    seconds: int,
) -> None:
    github.fail("GET", "/pulls$", **failure)
    for _ in range(2):
        with pytest.raises(Retry, match=rf"allowed in {seconds} s") as caught:
            await client.open_changes(named(shop))
        assert caught.value.reason == "forge-rate-limit"
        assert caught.value.detail == f"retry after {seconds} s"
    assert len(github.requests) == 1, "the second wasn't even sent"


async def test_after_the_wait_requests_are_sent_again(
    github: GithubDouble, client: GithubPullRequests, shop: GithubRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    github.fail("GET", "/pulls$", status=429, headers={"retry-after": "57"})
    monkeypatch.setattr("stager.forges.github.api.rest.time.monotonic", lambda: 1000.0)
    with pytest.raises(Retry):
        await client.open_changes(named(shop))
    monkeypatch.setattr("stager.forges.github.api.rest.time.monotonic", lambda: 1057.0)
    assert await client.open_changes(named(shop)) == []
