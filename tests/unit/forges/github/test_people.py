"""What GitHub's words about people and checks amount to. Whatever isn't certain is no answer."""

from __future__ import annotations

from typing import Any

import pytest

from stager.domain.errors import Retry
from stager.domain.source import Access, Repository
from stager.forges.github.api.people import MOST_REMEMBERED, REMEMBERED, GithubPeople
from stager.ports.forge import Forge
from tests.doubles.github import GithubDouble, GithubRepository
from tests.unit.forges.github.conftest import client_of

SHA = "a" * 40


class TestAccess:
    @pytest.mark.parametrize(
        ("permission", "role", "access"),
        [
            ("admin", "admin", Access.ADMIN),
            ("write", "write", Access.WRITE),
            ("write", "maintain", Access.WRITE),
            ("maintain", "", Access.WRITE),
            ("read", "triage", Access.READ),
            ("triage", "", Access.READ),
            ("write", "release-manager", Access.WRITE),
            ("none", "none", Access.NONE),
            ("something new", "write", Access.WRITE),
        ],
    )
    async def test_github_has_many_words(
        self,
        account: Forge,
        shop: GithubRepository,
        repository: Repository,
        permission: str,
        role: str,
        access: Access,
    ) -> None:
        shop.state.people["mona"] = (permission, role)
        assert await account.people.access(repository, "mona") is access

    async def test_an_unknown_word_is_no_answer(
        self, account: Forge, shop: GithubRepository, repository: Repository
    ) -> None:
        shop.state.people["mona"] = ("owner-ish", "owner-ish")
        with pytest.raises(Retry) as caught:
            await account.people.access(repository, "mona")
        assert caught.value.reason == "forge-answer-unreadable"

    @pytest.mark.parametrize(
        "how",
        [
            {"status": 403, "body": '{"message": "Must have push access"}'},
            {"status": 401},
            {"status": 500},
            {"status": 200, "body": "{}"},
            {"status": 200, "body": '{"permission": null}'},
            {"status": 200, "body": "[]"},
            {"drop": True},
            {"truncate": True},
        ],
    )
    async def test_anything_but_a_plain_answer_is_none(
        self,
        github: GithubDouble,
        account: Forge,
        shop: GithubRepository,
        repository: Repository,
        how: dict[str, Any],
    ) -> None:
        shop.state.people["mona"] = ("admin", "admin")
        github.fail("GET", "/permission$", times=9, **how)
        with pytest.raises(Retry):
            await account.people.access(repository, "mona")

    async def test_is_requested_again_after_a_minute(
        self, github: GithubDouble, account: Forge, shop: GithubRepository, repository: Repository
    ) -> None:
        now = [0.0]
        people = GithubPeople(client_of(account)._rest, clock=lambda: now[0])
        shop.state.people["mona"] = ("admin", "admin")
        assert await people.access(repository, "mona") is Access.ADMIN
        shop.state.people["mona"] = ("none", "none")
        now[0] = REMEMBERED - 0.1
        assert await people.access(repository, "Mona") is Access.ADMIN
        assert len(github.requested("GET", "/permission")) == 1
        now[0] = REMEMBERED
        assert await people.access(repository, "mona") is Access.NONE

    async def test_failures_arent_cached(
        self, github: GithubDouble, account: Forge, shop: GithubRepository, repository: Repository
    ) -> None:
        shop.state.people["mona"] = ("write", "write")
        github.fail("GET", "/permission$", times=3, status=500)
        with pytest.raises(Retry):
            await account.people.access(repository, "mona")
        assert await account.people.access(repository, "mona") is Access.WRITE

    async def test_of_one_repository_says_nothing_of_another(
        self, github: GithubDouble, account: Forge, shop: GithubRepository, repository: Repository
    ) -> None:
        blog = github.add_repository("acme", "blog")
        shop.state.people["mona"] = ("admin", "admin")
        assert await account.people.access(repository, "mona") is Access.ADMIN
        other = Repository(f"github:{blog.id}", "acme", "blog")
        assert await account.people.access(other, "mona") is Access.NONE

    async def test_the_cache_is_bounded(
        self, account: Forge, shop: GithubRepository, repository: Repository
    ) -> None:
        people = account.people
        assert isinstance(people, GithubPeople)
        for number in range(MOST_REMEMBERED):
            people._known.put(("1", str(number)), Access.ADMIN, 1e12)
        await people.access(repository, "mona")
        logins = [login for (_, login), _ in people._known.items()]
        assert logins == [*map(str, range(1, MOST_REMEMBERED)), "mona"]

    @pytest.mark.parametrize("login", ["../../../user", "a/b", "mona?x=1", "mona#", "größe", " "])
    async def test_a_strange_login_is_no_other_path(
        self,
        github: GithubDouble,
        account: Forge,
        shop: GithubRepository,
        repository: Repository,
        login: str,
    ) -> None:
        assert await account.people.access(repository, login) is Access.NONE
        [asked] = github.requests
        assert asked.path.startswith("/api/v3/repos/acme/shop/collaborators/")
        assert asked.path.endswith("/permission")


class TestPaths:
    async def test_of_a_renamed_file_are_both(
        self, github: GithubDouble, account: Forge, shop: GithubRepository, repository: Repository
    ) -> None:
        pull = github.open_pull(shop, "feature/x")
        pull.files = [{"filename": "new.py", "previous_filename": "old.py"}, {"filename": "old.py"}]
        assert await account.people.paths(repository, pull.number) == ["old.py", "new.py"]


class TestChecks:
    @pytest.mark.parametrize(
        ("status", "conclusion", "outcome"),
        [
            ("queued", None, "pending"),
            ("in_progress", None, "pending"),
            ("waiting", None, "pending"),
            ("something new", None, "pending"),
            ("completed", "success", "success"),
            ("completed", "neutral", "success"),
            ("completed", "skipped", "success"),
            ("completed", "failure", "failure"),
            ("completed", "cancelled", "failure"),
            ("completed", "timed_out", "failure"),
            ("completed", "action_required", "failure"),
            ("completed", "stale", "failure"),
            ("completed", "something new", "failure"),
            ("completed", None, "failure"),
        ],
    )
    async def test_github_has_many_words(
        self,
        account: Forge,
        shop: GithubRepository,
        repository: Repository,
        status: str,
        conclusion: str | None,
        outcome: str,
    ) -> None:
        shop.state.check_runs[SHA] = [{"name": "ci", "status": status, "conclusion": conclusion}]
        assert await account.people.checks(repository, SHA, "stager/shop") == outcome

    async def test_a_status_may_be_an_error(
        self, account: Forge, shop: GithubRepository, repository: Repository
    ) -> None:
        shop.state.statuses[SHA] = [{"context": "ci", "state": "error"}]
        assert await account.people.checks(repository, SHA, "stager/shop") == "failure"

    async def test_of_all_pages(self, account: Forge, shop: GithubRepository, repository: Repository) -> None:
        passed = [{"name": f"ci {n}", "status": "completed", "conclusion": "success"} for n in range(120)]
        shop.state.check_runs[SHA] = [*passed, {"name": "last", "status": "queued", "conclusion": None}]
        assert await account.people.checks(repository, SHA, "stager/shop") == "pending"

    @pytest.mark.parametrize("path", ["/status$", "/check-runs$"])
    @pytest.mark.parametrize(
        "body", ["[]", "{}", '{"statuses": null, "check_runs": {}}', '{"statuses": [1], "check_runs": [1]}']
    )
    async def test_what_isnt_a_list_of_checks_is_no_answer(
        self,
        github: GithubDouble,
        account: Forge,
        shop: GithubRepository,
        repository: Repository,
        path: str,
        body: str,
    ) -> None:
        github.fail("GET", path, times=9, status=200, body=body)
        with pytest.raises(Retry):
            await account.people.checks(repository, SHA, "stager/shop")
