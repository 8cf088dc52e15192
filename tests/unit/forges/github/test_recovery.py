"""What never arrived is asked for again, within bounds; and what GitHub says of its limits is heeded."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from stager.domain.errors import Retry
from stager.domain.source import Repository
from stager.forges.github.api.redelivery import MOST_ATTEMPTS, MOST_PAGES, MOST_REDELIVERED
from stager.ports.forge import Forge
from tests.doubles.github import GithubDouble, GithubRepository
from tests.doubles.github_app import LoggedDelivery
from tests.unit.forges.github.conftest import client_of

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SINCE = NOW - timedelta(hours=1)


def delivery(guid: str, status: int, minutes_ago: int = 10, event: str = "pull_request") -> LoggedDelivery:
    return LoggedDelivery(guid, event, status, NOW - timedelta(minutes=minutes_ago))


class TestRedelivery:
    async def test_of_what_failed_and_nothing_else(self, github: GithubDouble, app: Forge) -> None:
        github.app.log = [
            delivery("saved", 202, 1),
            delivery("lost", 502, 2),
            delivery("down", 0, 3),
            delivery("saved", 500, 4),
            delivery("fine", 202, 5),
            delivery("star", 500, 6, "star"),
            delivery("old", 500, 61),
        ]
        assert await app.redelivery.redeliver(SINCE) == 2
        by_id = {str(d.id): d.guid for d in github.app.log}
        assert [by_id[asked] for asked in github.app.redelivered] == ["down", "lost"], "oldest first"

    async def test_asks_for_the_newest_attempt(self, github: GithubDouble, app: Forge) -> None:
        newest, oldest = delivery("lost", 502, 1), delivery("lost", 502, 9)
        github.app.log = [newest, oldest]
        assert await app.redelivery.redeliver(SINCE) == 1
        assert github.app.redelivered == [str(newest.id)]

    async def test_ends_after_a_few_attempts(self, github: GithubDouble, app: Forge) -> None:
        github.app.log = [delivery("lost", 502, n) for n in range(MOST_ATTEMPTS)]
        assert await app.redelivery.redeliver(SINCE) == 0

    async def test_reads_all_pages_up_to_then(self, github: GithubDouble, app: Forge) -> None:
        github.app.page = 2
        github.app.log = [delivery(f"lost {n}", 502, n) for n in range(7)]
        github.app.log += [delivery(f"old {n}", 502, 100) for n in range(20)]
        assert await app.redelivery.redeliver(SINCE) == 7
        asked = github.requested("GET", "/app/hook/deliveries")
        assert [request.query.get("cursor", "") for request in asked] == ["", "v1_2", "v1_4", "v1_6"]

    async def test_is_bounded(self, github: GithubDouble, app: Forge) -> None:
        github.app.page = 10
        github.app.log = [delivery(f"lost {n}", 502) for n in range(10 * (MOST_PAGES + 5))]
        assert await app.redelivery.redeliver(SINCE) == MOST_REDELIVERED
        assert len(github.requested("GET", "/deliveries")) == MOST_PAGES

    async def test_one_that_github_refuses_stops_no_other(self, github: GithubDouble, app: Forge) -> None:
        github.app.log = [delivery("one", 502), delivery("two", 502)]
        github.fail("POST", "/attempts$", status=422)
        assert await app.redelivery.redeliver(SINCE) == 1

    @pytest.mark.parametrize(
        "how",
        [
            {"status": 502},
            {"status": 401},
            {"status": 200, "body": '[{"id": 1}]'},
            {"status": 200, "body": "{}"},
        ],
    )
    async def test_that_cant_be_requested(
        self, github: GithubDouble, app: Forge, how: dict[str, object]
    ) -> None:
        github.app.log = [delivery("lost", 502)]
        github.fail("GET", "/deliveries$", times=9, **how)
        with pytest.raises(Retry):
            await app.redelivery.redeliver(SINCE)

    async def test_an_account_has_no_log(self, github: GithubDouble, account: Forge) -> None:
        assert await account.redelivery.redeliver(SINCE) == 0
        assert github.requests == []


class TestLimits:
    def headers(self, remaining: int, seconds: int = 600) -> dict[str, str]:
        return {
            "x-ratelimit-limit": "5000",
            "x-ratelimit-remaining": str(remaining),
            "x-ratelimit-reset": str(int(time.time()) + seconds),
        }

    async def test_are_returned(self, github: GithubDouble, account: Forge, repository: Repository) -> None:
        assert account.redelivery.limits() is None
        github.fail("GET", "/pulls$", status=200, body="[]", headers=self.headers(4321))
        await client_of(account).open_changes(repository)
        limits = account.redelivery.limits()
        assert limits is not None
        assert (limits.limit, limits.remaining) == (5000, 4321)
        assert timedelta(0) < limits.resets_at - datetime.now(UTC) <= timedelta(seconds=600)

    async def test_nothing_is_requested_once_nothing_is_left(
        self, github: GithubDouble, account: Forge, repository: Repository, shop: GithubRepository
    ) -> None:
        github.fail("GET", "/pulls$", status=200, body="[]", headers=self.headers(0))
        assert await client_of(account).open_changes(repository) == []
        with pytest.raises(Retry) as caught:
            await client_of(account).open_changes(repository)
        assert caught.value.reason == "forge-rate-limit"
        assert len(github.requests) == 1

    @pytest.mark.parametrize(
        "headers",
        [
            {"x-ratelimit-limit": "many"},
            {"x-ratelimit-limit": "1", "x-ratelimit-remaining": "0"},
            {"x-ratelimit-limit": "1", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" * 15},
            {"x-ratelimit-limit": "1", "x-ratelimit-remaining": "-1", "x-ratelimit-reset": "1"},
        ],
    )
    async def test_odd_ones_are_none(
        self, github: GithubDouble, account: Forge, repository: Repository, headers: dict[str, str]
    ) -> None:
        github.fail("GET", "/pulls$", times=2, status=200, body="[]", headers=headers)
        for _ in range(2):
            assert await client_of(account).open_changes(repository) == []
        assert account.redelivery.limits() is None


class TestConditionalRequests:
    async def test_a_list_that_didnt_change_costs_nothing(
        self, github: GithubDouble, account: Forge, shop: GithubRepository, repository: Repository
    ) -> None:
        """GitHub doesn't count a 304 (docs, "Use conditional requests")."""
        for number in range(230):
            github.open_pull(shop, f"branch-{number}").labels = ["preview"]
        first = await client_of(account).open_changes(repository)
        again = await client_of(account).open_changes(repository)
        assert [request.status for request in github.requested("GET", "/pulls")] == [200] * 3 + [304] * 3
        assert again == first
        assert again[0].labels == ("preview",)

    async def test_only_the_page_that_changed_is_read_again(
        self, github: GithubDouble, account: Forge, shop: GithubRepository, repository: Repository
    ) -> None:
        pulls = [github.open_pull(shop, f"branch-{number}") for number in range(230)]
        await client_of(account).open_changes(repository)
        github.edit(pulls[150], labels=["preview"])
        again = await client_of(account).open_changes(repository)
        assert [request.status for request in github.requested("GET", "/pulls")][3:] == [304, 200, 304]
        assert [change.number for change in again if change.labels] == [151]
