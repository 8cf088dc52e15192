"""Which earlier revision a roll back chooses, and what it says about data."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from stager.domain.attempt import Attempt
from stager.domain.deployment import DeployedService, Deployment
from stager.domain.environment import Desired, Environment, EnvironmentKey, RunState
from stager.domain.errors import Refused
from stager.domain.rollback import chosen_revision, earlier_revisions, effect_on_data
from stager.domain.service import Mount, ServiceSpec
from stager.domain.source import Revision
from tests.unit.domain.world import START

ENVIRONMENT = Environment(
    "e", EnvironmentKey("shop", "name:x"), "x", "x.test", Desired(RunState.RUNNING, 9), START, START
)


def deployment(generation: int, sha: str, *, live: bool = True, image: str = "") -> Deployment:
    """A prepared deployment of this commit; the digit is repeated to a full id."""
    web = DeployedService(ServiceSpec("web"), image or f"sha256:{sha}", is_main=True)
    at = START + timedelta(minutes=generation)
    return Deployment(
        f"d{generation}",
        "e",
        Revision(sha * 40 if len(sha) == 1 else sha),
        Attempt(generation),
        at,
        image=web.image,
        live_at=at if live else None,
        services=(web,),
    )


def numbers(history: list[Deployment], current: Deployment | None = None) -> list[int]:
    newest_first = sorted(history, key=lambda d: -d.generation)
    return [d.generation for d in earlier_revisions(newest_first, current or newest_first[0])]


def chosen(history: list[Deployment], to: str = "", current: Deployment | None = None) -> Deployment:
    newest_first = sorted(history, key=lambda d: -d.generation)
    return chosen_revision(ENVIRONMENT, newest_first, current or newest_first[0], to)


class TestEarlierRevisions:
    def test_are_those_that_were_live_newest_first(self) -> None:
        history = [deployment(1, "a"), deployment(2, "b", live=False), deployment(3, "c"), deployment(4, "d")]
        assert numbers(history) == [3, 1]

    def test_after_a_failed_push_the_one_that_serves_comes_first(self) -> None:
        assert numbers([deployment(1, "a"), deployment(2, "b"), deployment(3, "c", live=False)]) == [2, 1]

    def test_a_revision_that_was_deployed_twice_counts_once_with_its_last_deployment(self) -> None:
        assert numbers([deployment(1, "a"), deployment(2, "a"), deployment(3, "b")]) == [2]

    def test_another_deployment_of_the_current_revision_isnt_one(self) -> None:
        assert numbers([deployment(1, "a"), deployment(2, "b"), deployment(3, "b")]) == [1]

    def test_a_commit_with_another_image_is_another_revision(self) -> None:
        assert numbers([deployment(1, "a", image="sha256:1"), deployment(2, "a", image="sha256:2")]) == [1]

    def test_after_a_roll_back_it_goes_further_back(self) -> None:
        history = [deployment(1, "a"), deployment(2, "b"), deployment(3, "c"), deployment(4, "b")]
        assert numbers(history) == [1]

    def test_while_a_roll_back_isnt_prepared(self) -> None:
        """What it brings back is the current revision."""
        first, second = deployment(1, "a"), deployment(2, "b")
        pending = replace(first, id="d3", attempt=Attempt(3), image="", services=(), live_at=None)
        assert numbers([first, second, pending], first) == []

    def test_while_a_redeployment_isnt_prepared(self) -> None:
        pending = replace(deployment(3, "b", live=False), image="", services=())
        assert numbers([deployment(1, "a"), deployment(2, "b"), pending]) == [1]

    def test_an_adopted_one_isnt_known_well_enough(self) -> None:
        assert numbers([replace(deployment(1, "a"), services=()), deployment(2, "b")]) == []


class TestChosenRevision:
    HISTORY = (deployment(1, "a"), deployment(2, "b", live=False), deployment(3, "c"), deployment(4, "d"))

    @pytest.mark.parametrize(
        ("to", "generation"), [("", 3), ("ccccccc", 3), ("AAAAAAA", 1), ("a" * 40, 1), ("1", 1)]
    )
    def test_by_name(self, to: str, generation: int) -> None:
        assert chosen(list(self.HISTORY), to).generation == generation

    @pytest.mark.parametrize(
        ("to", "reason"),
        [
            ("bbbbbbb", "rollback-unknown"),  # never live
            ("2", "rollback-unknown"),
            ("cccccc", "rollback-unknown"),  # too short
            ("ddddddd", "rollback-current"),
            ("4", "rollback-current"),
            ("'; DROP TABLE", "rollback-unknown"),
        ],
    )
    def test_refused(self, to: str, reason: str) -> None:
        with pytest.raises(Refused) as refused:
            chosen(list(self.HISTORY), to)
        assert refused.value.reason == reason

    @pytest.mark.parametrize(("newest", "hint"), [("d", "Use `redeploy` to deploy it again."), ("e", "")])
    def test_a_redeployment_helps_only_if_it_is_the_newest_commit(self, newest: str, hint: str) -> None:
        desired = replace(ENVIRONMENT.desired, revision=Revision(newest * 40))
        with pytest.raises(Refused) as refused:
            chosen_revision(
                replace(ENVIRONMENT, desired=desired), self.HISTORY[::-1], self.HISTORY[-1], "ddddddd"
            )
        assert refused.value.hint == hint

    def test_two_commits_with_the_same_digits(self) -> None:
        history = [deployment(1, "abcdef0" + "1" * 33), deployment(2, "abcdef0" + "2" * 33)]
        with pytest.raises(Refused, match="several commits"):
            chosen([*history, deployment(3, "c")], "abcdef0")

    def test_nothing_was_live_before(self) -> None:
        with pytest.raises(Refused) as refused:
            chosen([deployment(1, "a")])
        assert refused.value.reason == "rollback-none"

    def test_a_newer_one_after_a_roll_back(self) -> None:
        history = [deployment(1, "a"), deployment(2, "b"), deployment(3, "a")]
        assert chosen(history, "bbbbbbb").generation == 2


class TestData:
    @staticmethod
    def with_volumes(*names: str, fresh: str = "", clone: str = "") -> Deployment:
        mounts = tuple(Mount(f"/{name}", name) for name in names)
        store = DeployedService(
            ServiceSpec("store", mounts=mounts),
            "sha256:s",
            fresh_volumes=frozenset(filter(None, (fresh, clone))),
            clones={clone: "s1"} if clone else {},
        )
        before = deployment(1, "a")
        return replace(before, services=(*before.services, store))

    def test_none(self) -> None:
        assert effect_on_data(deployment(1, "a")) == ""

    def test_each_policy_has_a_sentence(self) -> None:
        text = effect_on_data(self.with_volumes("kept", "copy", "empty", fresh="empty", clone="copy"))
        assert text == (
            'Data in the volume "kept" stays as the newer revision left it; migrations aren\'t undone. '
            'The volume "copy" starts again from the current snapshot. The volume "empty" starts empty.'
        )
