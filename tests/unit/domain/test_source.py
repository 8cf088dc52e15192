"""Where code comes from, whether it may run, and what is newer than what."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stager.domain.attempt import Attempt
from stager.domain.environment import (
    Desired,
    EnvironmentKey,
    Instance,
    InstanceState,
    RunState,
    Suspension,
    SuspensionReason,
)
from stager.domain.identity.actor import Actor
from stager.domain.observed import Observed
from stager.domain.route import Endpoint
from stager.domain.source import Change, Repository, Trust, forge_of, repository_id

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BASE = Repository("github:10", "acme", "shop")
CHANGE = Change(
    repository=BASE,
    number=7,
    is_open=True,
    head_sha="b",
    head_ref="feature/x",
    head_repository=BASE,
    base_ref="main",
    title="Title",
    author="ann",
    url="https://forge.test/7",
    updated_at=NOON,
)


class TestTrust:
    @pytest.mark.parametrize(
        ("head", "trust"),
        [
            (BASE, Trust.TRUSTED),
            (Repository("github:10", "acme", "renamed"), Trust.TRUSTED),
            (Repository("github:10", "moved", "shop"), Trust.TRUSTED),
            (Repository("github:99", "mallory", "shop"), Trust.FORK),
            (Repository("github:99", "acme", "shop"), Trust.FORK),
            (None, Trust.FORK),
        ],
    )
    def test_is_the_repositorys_identity(self, head: Repository | None, trust: Trust) -> None:
        assert replace(CHANGE, head_repository=head).trust is trust


class TestAge:
    @pytest.mark.parametrize(("seconds", "older"), [(-1, True), (0, False), (1, False)])
    def test_by_the_forges_stamp(self, seconds: int, older: bool) -> None:
        other = replace(CHANGE, updated_at=NOON + timedelta(seconds=seconds))

        assert other.is_older_than(CHANGE) is older

    def test_within_a_second_by_the_chain_of_heads(self) -> None:
        before = replace(CHANGE, head_sha="a")
        pushed = replace(CHANGE, head_sha="b", head_before="a")

        assert before.is_older_than(pushed)
        assert not pushed.is_older_than(before)

    def test_the_stamp_counts_more_than_the_chain(self) -> None:
        before = replace(CHANGE, head_sha="a", updated_at=NOON + timedelta(seconds=1))
        pushed = replace(CHANGE, head_sha="b", head_before="a")

        assert not before.is_older_than(pushed)
        assert pushed.is_older_than(before)

    def test_nothing_is_older_than_itself(self) -> None:
        for change in (CHANGE, replace(CHANGE, head_sha="", head_before="")):
            assert not change.is_older_than(change)


class TestKeys:
    def test_of_a_change_and_of_a_name_never_meet(self) -> None:
        change = EnvironmentKey.of_change("shop", "github:10", 7)
        name = EnvironmentKey.of_name("shop", "change:github:10/7")

        assert change != name
        assert (str(change), str(name)) == ("shop/change:github:10/7", "shop/name:change:github:10/7")

    def test_outlive_a_rename(self) -> None:
        moved = replace(BASE, owner="moved", name="renamed")
        assert EnvironmentKey.of_change("shop", BASE.id, 7) == EnvironmentKey.of_change("shop", moved.id, 7)


class TestRepositoryIds:
    @pytest.mark.parametrize(("forge", "own"), [("github", "123"), ("local", "shop"), ("local", "a:b")])
    def test_name_their_forge(self, forge: str, own: str) -> None:
        assert repository_id(forge, own) == f"{forge}:{own}"
        assert forge_of(repository_id(forge, own)) == forge


class TestWords:
    def test_a_full_name(self) -> None:
        assert BASE.full_name == "acme/shop"

    def test_an_actor(self) -> None:
        assert str(Actor("ann", "webhook")) == "ann (webhook)"


class TestDesired:
    KILLED = Suspension(SuspensionReason.KILLED, "No.")

    def test_a_suspended_state_has_a_reason_and_others_have_none(self) -> None:
        running = Desired(RunState.RUNNING, 1)
        suspended = running.suspended(self.KILLED)
        assert (suspended.run, suspended.suspension) == (RunState.SUSPENDED, self.KILLED)
        assert (suspended.should_run, suspended.is_present) == (False, True)
        assert suspended.resumed() == running
        assert suspended.absent() == running.absent() == Desired(RunState.ABSENT, 1)

    def test_what_is_absent_stays_absent(self) -> None:
        absent = Desired(RunState.ABSENT, 1)
        assert absent.suspended(self.KILLED) == absent.resumed() == absent
        assert (absent.should_run, absent.is_present) == (False, False)

    @pytest.mark.parametrize(
        ("run", "suspension"),
        [(RunState.RUNNING, KILLED), (RunState.ABSENT, KILLED), (RunState.SUSPENDED, None)],
    )
    def test_a_contradiction_is_no_desired_state(self, run: RunState, suspension: Suspension | None) -> None:
        with pytest.raises(ValueError, match="suspension"):
            Desired(run, 1, suspension=suspension)


class TestObserved:
    ENDPOINT = Endpoint("10.200.0.1", 3000)

    def running(self, **changed: object) -> Instance:
        instance = Instance("i", "e", "web", "d", 1, InstanceState.RUNNING, "t1", endpoint=self.ENDPOINT)
        return replace(instance, **changed)  # type: ignore[arg-type]

    def test_health_is_known_per_start(self) -> None:
        observed = Observed(attempts=(Attempt(1, healthy_runs={"web": "i@t1"}),))

        assert observed.is_healthy(self.running(), 1)
        assert not observed.is_healthy(self.running(started_at="t2"), 1)
        assert not observed.is_healthy(self.running(state=InstanceState.STOPPED), 1)
        assert not observed.is_healthy(self.running(), 2)

    @pytest.mark.parametrize(
        ("instances", "published", "serves"),
        [
            (True, True, True),
            (True, False, False),
            (False, True, False),
        ],
    )
    def test_what_serves_is_published_and_runs(self, instances: bool, published: bool, serves: bool) -> None:
        there = (self.running(),) if instances else ()
        observed = Observed(there, {"web": self.ENDPOINT} if published else {})

        assert observed.serving == (there if serves else ())

    def test_one_that_stopped_doesnt_serve(self) -> None:
        stopped = self.running(state=InstanceState.STOPPED, endpoint=None)

        assert Observed((stopped,), {"web": self.ENDPOINT}).serving == ()

    def test_an_attempt_before_its_first_step_is_fresh(self) -> None:
        known = Attempt(1, failures=3)
        observed = Observed(attempts=(known,))

        assert (observed.attempt(1), observed.attempt(2)) == (known, Attempt(2))
