"""The exact requests to GitHub, and the effect of a failure in the middle."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused, Retry
from stager.ports.forge import Announcement, Forge, Progress
from tests.doubles.github import GithubDouble, GithubRepository

A, B = "a" * 40, "b" * 40
LIVE = Announcement(
    "preview/shop/pr-1", A, Progress.SUCCESS, "It is live.", "https://x.test/", "https://log.test/"
)


@pytest.fixture
def link(github: GithubDouble, shop: GithubRepository) -> ChangeLink:
    pull = github.open_pull(shop, "feature/x", sha=A)
    shop.state.shas.add(B)
    return ChangeLink(str(shop.id), "acme", "shop", pull.number, "main", "A change", "mona", "")


def told(github: GithubDouble, path: str) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in github.requested("POST", path)]


async def test_a_deployment_word_for_word(github: GithubDouble, account: Forge, link: ChangeLink) -> None:
    await account.announcements.deployment(link, LIVE, "")
    deployment, status = told(github, "/deployments")
    assert deployment == {
        "ref": A,
        "environment": "preview/shop/pr-1",
        "description": "It is live.",
        "transient_environment": True,
        "production_environment": False,
        "auto_merge": False,
        "required_contexts": [],
    }
    assert status == {
        "state": "success",
        "description": "It is live.",
        "environment_url": "https://x.test/",
        "log_url": "https://log.test/",
        "auto_inactive": False,
    }


async def test_no_url_is_left_out(github: GithubDouble, account: Forge, link: ChangeLink) -> None:
    queued = replace(LIVE, progress=Progress.QUEUED, url="", log_url="")
    await account.announcements.deployment(link, queued, "")
    await account.announcements.status(link, queued, "stager/shop")
    assert told(github, "/deployments")[1] == {
        "state": "queued",
        "description": "It is live.",
        "auto_inactive": False,
    }
    assert told(github, f"/statuses/{A}") == [
        {"state": "pending", "context": "stager/shop", "description": "It is live."}
    ]


async def test_a_description_is_one_line_of_140_characters(
    github: GithubDouble, account: Forge, link: ChangeLink
) -> None:
    long = replace(LIVE, description="größer\n" * 40)
    await account.announcements.status(link, long, "stager/shop")
    [status] = told(github, "/statuses/")
    assert len(status["description"]) == 140
    assert status["description"].startswith("größer größer ")
    assert status["description"].endswith("…")


async def test_what_was_sent_already_costs_nothing(
    github: GithubDouble, account: Forge, link: ChangeLink
) -> None:
    known = await account.announcements.deployment(link, LIVE, "")
    await account.announcements.status(link, LIVE, "stager/shop")
    before = len(github.requests)
    assert await account.announcements.deployment(link, LIVE, known) == known
    await account.announcements.status(link, LIVE, "stager/shop")
    assert len(github.requests) == before


async def test_what_failed_doesnt_count_as_sent(
    github: GithubDouble, account: Forge, link: ChangeLink, shop: GithubRepository
) -> None:
    github.fail("POST", "/statuses/", status=502)
    with pytest.raises(Retry):
        await account.announcements.status(link, LIVE, "stager/shop")
    await account.announcements.status(link, LIVE, "stager/shop")
    assert [s["state"] for s in shop.state.statuses[A]] == ["success"]


@pytest.mark.parametrize(
    "how", [{"drop": True, "after": True}, {"status": 502, "after": True}, {"drop": True}]
)
async def test_a_deployment_whose_answer_is_lost_isnt_made_twice(
    github: GithubDouble, account: Forge, link: ChangeLink, shop: GithubRepository, how: dict[str, Any]
) -> None:
    github.fail("POST", "/deployments$", **how)
    with pytest.raises(Retry):
        await account.announcements.deployment(link, LIVE, "")
    await account.announcements.deployment(link, LIVE, "")
    assert [d.state for d in shop.state.deployments] == ["success"]


async def test_one_that_is_interrupted_in_the_middle_of_a_change_begins_again(
    github: GithubDouble, account: Forge, link: ChangeLink, shop: GithubRepository
) -> None:
    known = await account.announcements.deployment(link, LIVE, "")
    github.fail("POST", "/deployments/[0-9]+/statuses$", status=502, times=1)
    newer = replace(LIVE, sha=B)
    with pytest.raises(Retry):
        await account.announcements.deployment(link, newer, known)
    await account.announcements.deployment(link, newer, known)
    assert [(d.sha, d.state) for d in shop.state.deployments] == [(A, "inactive"), (B, "success")]


async def test_a_post_is_tried_once(github: GithubDouble, account: Forge, link: ChangeLink) -> None:
    """Another try after a failure might do it twice."""
    github.fail("POST", "", times=9, status=503)
    for attempt in (
        account.announcements.deployment(link, LIVE, ""),
        account.announcements.status(link, LIVE, "stager/shop"),
    ):
        before = len(github.requested("POST"))
        with pytest.raises(Retry):
            await attempt
        assert len(github.requested("POST")) == before + 1


async def test_pushed_back_to_an_older_commit(
    github: GithubDouble, account: Forge, link: ChangeLink, shop: GithubRepository
) -> None:
    known = await account.announcements.deployment(link, LIVE, "")
    known = await account.announcements.deployment(link, replace(LIVE, sha=B), known)
    known = await account.announcements.deployment(link, LIVE, known)
    assert [(d.sha, d.state) for d in shop.state.deployments] == [(A, "success"), (B, "inactive")]
    assert known == f"{shop.state.deployments[0].id}:{A}"


async def test_another_apps_deployment_is_left_alone(
    github: GithubDouble, account: Forge, link: ChangeLink, shop: GithubRepository
) -> None:
    await account.announcements.deployment(link, replace(LIVE, environment="production"), "")
    await account.announcements.deployment(link, replace(LIVE, sha=B), "")
    assert [(d.environment, d.state) for d in shop.state.deployments] == [
        ("production", "success"),
        ("preview/shop/pr-1", "success"),
    ]


async def test_a_commit_that_is_unknown_to_github(account: Forge, link: ChangeLink) -> None:
    unknown = replace(LIVE, sha="c" * 40)
    with pytest.raises(Refused) as caught:
        await account.announcements.deployment(link, unknown, "")
    assert caught.value.status == 422
    with pytest.raises(Refused):
        await account.announcements.status(link, unknown, "stager/shop")


@pytest.mark.parametrize("known", ["", "x", "12:34:56", ":", "999:" + A])
async def test_any_text_may_be_known(
    account: Forge, link: ChangeLink, shop: GithubRepository, known: str
) -> None:
    await account.announcements.deployment(link, LIVE, known)
    assert [d.state for d in shop.state.deployments] == ["success"]
