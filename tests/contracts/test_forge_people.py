"""What every forge promises of people, files and checks."""

from __future__ import annotations

import pytest

from stager.domain.errors import Retry
from stager.domain.source import Access
from stager.ports.forge import Checks
from tests.contracts.forges import A, B, Forge

OURS = "stager/shop"


class TestAccess:
    @pytest.mark.parametrize("access", list(Access))
    async def test_is_reported_unchanged(self, forge: Forge, access: Access) -> None:
        forge.allow("mona", access)

        assert await forge.people.access(forge.repository, "mona") is access

    async def test_of_a_stranger_is_none(self, forge: Forge) -> None:
        forge.allow("mona", Access.ADMIN)

        assert await forge.people.access(forge.repository, "mallory") is Access.NONE

    async def test_does_not_depend_on_case(self, forge: Forge) -> None:
        forge.allow("Mona", Access.WRITE)

        assert await forge.people.access(forge.repository, "mONA") is Access.WRITE

    async def test_that_is_unknown_is_no_answer(self, forge: Forge) -> None:
        forge.allow("mona", Access.ADMIN)
        forge.fail()

        with pytest.raises(Retry):
            await forge.people.access(forge.repository, "mona")


class TestPaths:
    async def test_none(self, forge: Forge) -> None:
        assert await forge.people.paths(forge.repository, forge.open("feature/x", A)) == []

    async def test_of_this_change(self, forge: Forge) -> None:
        one, two = forge.open("one", A), forge.open("two", B)
        forge.touch(one, "api/app.py", "docs/a b.md")
        forge.touch(two, "web/größe.js")

        assert sorted(await forge.people.paths(forge.repository, one)) == ["api/app.py", "docs/a b.md"]
        assert await forge.people.paths(forge.repository, two) == ["web/größe.js"]

    async def test_all_of_them(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        every = [f"folder/{number}" for number in range(230)]
        forge.touch(at, *every)

        assert sorted(await forge.people.paths(forge.repository, at)) == sorted(every)

    async def test_a_part_is_no_answer(self, forge: Forge) -> None:
        at = forge.open("feature/x", A)
        forge.touch(at, "a", "b")
        forge.break_off_lists()

        with pytest.raises(Retry):
            await forge.people.paths(forge.repository, at)


class TestChecks:
    async def checks(self, forge: Forge) -> Checks:
        return await forge.people.checks(forge.repository, A, OURS)

    async def test_none(self, forge: Forge) -> None:
        forge.open("feature/x", A)

        assert await self.checks(forge) == "none"

    @pytest.mark.parametrize("context", ["ci", "check"])
    @pytest.mark.parametrize("outcome", ["pending", "success", "failure"])
    async def test_one(self, forge: Forge, context: str, outcome: Checks) -> None:
        forge.check(A, outcome, context)
        forge.check(B, "failure", context)

        assert await self.checks(forge) == outcome

    @pytest.mark.parametrize(
        ("outcomes", "all_in_all"),
        [
            (["success", "success", "success"], "success"),
            (["success", "pending", "success"], "pending"),
            (["success", "pending", "failure"], "failure"),
        ],
    )
    async def test_the_worst_counts(self, forge: Forge, outcomes: list[Checks], all_in_all: Checks) -> None:
        for context, outcome in zip(("ci/build", "ci/lint", "check"), outcomes, strict=True):
            forge.check(A, outcome, context)

        assert await self.checks(forge) == all_in_all

    async def test_the_newest_of_a_context_counts(self, forge: Forge) -> None:
        for context in ("ci", "check"):
            forge.check(A, "failure", context)
            forge.check(A, "success", context)

        assert await self.checks(forge) == "success"

    async def test_our_own_dont(self, forge: Forge) -> None:
        forge.check(A, "pending", OURS)
        assert await self.checks(forge) == "none"

        forge.check(A, "success", "ci")
        assert await self.checks(forge) == "success"

    async def test_that_are_unknown_are_no_answer(self, forge: Forge) -> None:
        forge.check(A, "success")
        forge.break_off_lists()
        with pytest.raises(Retry):
            await self.checks(forge)
