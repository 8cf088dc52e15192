"""What a failure means for an attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stager.domain.attempt import (
    CRASHES_ALLOWED,
    LONG_RUN,
    LONGEST_PAUSE,
    Attempt,
    Ending,
    ServiceFailure,
    after_answer,
    after_error,
    after_exit,
    after_start,
    degraded,
    pause,
)
from stager.domain.environment import WEB_SERVICE, Instance, InstanceState, Service
from stager.domain.errors import Fault, Outcome, Refused, Retry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JUST_NOW = (NOW - timedelta(seconds=1)).isoformat()
HEALTHY_BEFORE = {"web": "i1@before"}


def ended(started_at: str = JUST_NOW, exit_code: int | None = 1) -> Instance:
    return Instance("i1", "e", "web", "d", 1, InstanceState.STOPPED, started_at, exit_code)


def exited(attempt: Attempt, instance: Instance, log: str, now: datetime) -> Attempt:
    """After the main service's instance ended."""
    ending = Ending(instance, attempt.has_been_healthy(instance), log)
    return after_exit(attempt, WEB_SERVICE, ending, now)


def seconds(attempt: Attempt) -> float:
    """How long until the next try."""
    assert attempt.retry_at
    return (attempt.retry_at - NOW).total_seconds()


class TestPause:
    def test_doubles_up_to_a_minute(self) -> None:
        assert [pause(n).total_seconds() for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]

    @pytest.mark.parametrize("failures", [10, 100, 10_000_000])
    def test_has_a_longest(self, failures: int) -> None:
        assert pause(failures) == LONGEST_PAUSE


class TestAfterError:
    def test_of_what_may_pass_there_is_another_try(self) -> None:
        first = after_error(Attempt(1), Retry("Not now.", hint="Wait.", reason="away"), NOW)
        second = after_error(first, Retry("Not now.", reason="away"), NOW)

        assert (first.final, second.final) == (False, False)
        assert (seconds(first), seconds(second)) == (1, 2)
        assert first.outcome == Outcome("retry", "away", "Not now.", "Wait.")

    @pytest.mark.parametrize("kind", [Fault, Refused])
    def test_of_what_wont_there_is_none(self, kind: type[Fault | Refused]) -> None:
        attempt = after_error(Attempt(1), kind("Broken.", reason="broken", detail="log"), NOW)

        assert (attempt.final, attempt.retry_at) == (True, None)
        assert attempt.outcome
        assert (attempt.outcome.reason, attempt.outcome.detail) == ("broken", "log")


class TestAfterExit:
    @pytest.mark.parametrize("exit_code", [137, 143])
    def test_one_that_was_killed_at_boot_is_started_again(self, exit_code: int) -> None:
        attempt = exited(Attempt(1), ended(exit_code=exit_code), "", NOW)

        assert (attempt.final, seconds(attempt)) == (False, 1)
        again = replace(attempt, failures=CRASHES_ALLOWED)
        assert exited(again, ended(exit_code=exit_code), "", NOW).final

    def test_at_boot_it_is_final(self) -> None:
        attempt = exited(Attempt(1), ended(exit_code=3), "last\nlines", NOW)

        assert (attempt.final, attempt.retry_at) == (True, None)
        assert attempt.outcome
        assert (attempt.outcome.kind, attempt.outcome.reason) == ("fault", "exited")
        assert "exit code 3" in attempt.outcome.message
        assert attempt.outcome.detail == "last\nlines"

    def test_for_memory_it_says_so_with_the_limit(self) -> None:
        hungry = replace(ended(exit_code=137), memory_exceeded=512 << 20)
        at_boot = exited(Attempt(1), hungry, "last", NOW)
        later = exited(Attempt(1, healthy_runs=HEALTHY_BEFORE), hungry, "last", NOW)

        assert (at_boot.final, later.final) == (True, False)
        assert at_boot.outcome == later.outcome
        assert at_boot.outcome
        assert at_boot.outcome.reason == "out-of-memory"
        assert "512 MiB" in at_boot.outcome.message
        assert "`memory`" in at_boot.outcome.hint
        assert at_boot.outcome.detail == "last"

    def test_after_it_answered_once_it_is_started_again(self) -> None:
        attempt = exited(Attempt(1, healthy_runs=HEALTHY_BEFORE), ended(), "", NOW)

        assert (attempt.final, attempt.failures, seconds(attempt)) == (False, 1, 1)
        assert attempt.outcome
        assert attempt.outcome.reason == "crashed"

    def test_so_often_in_a_row(self) -> None:
        attempt, finals = Attempt(1, healthy_runs=HEALTHY_BEFORE), []
        for _ in range(CRASHES_ALLOWED + 1):
            attempt = exited(attempt, ended(), "", NOW)
            finals.append(attempt.final)

        assert finals == [False] * CRASHES_ALLOWED + [True]
        assert attempt.retry_at is None

    def test_what_it_waited_for_before_isnt_counted(self) -> None:
        attempt = Attempt(1)
        for _ in range(CRASHES_ALLOWED + 1):
            attempt = after_error(attempt, Retry("Not now.", reason="engine-away"), NOW)
        attempt = exited(attempt, ended(exit_code=137), "", NOW)

        assert (attempt.final, attempt.failures) == (False, 1)

    @pytest.mark.parametrize(("ran", "failures"), [(LONG_RUN, 1), (LONG_RUN - timedelta(seconds=1), 4)])
    def test_counting_starts_again_after_a_long_run(self, ran: timedelta, failures: int) -> None:
        before = Attempt(1, failures=3, healthy_runs=HEALTHY_BEFORE)

        assert exited(before, ended((NOW - ran).isoformat()), "", NOW).failures == failures

    @pytest.mark.parametrize("stamp", ["", "yesterday"])
    def test_a_stamp_that_says_nothing_is_no_long_run(self, stamp: str) -> None:
        before = Attempt(1, failures=3, healthy_runs=HEALTHY_BEFORE)

        assert exited(before, ended(stamp), "", NOW).failures == 4

    @pytest.mark.parametrize("stamp", ["2025-12-31T23:00:00.123456789Z", "2025-12-31T23:00:00Z"])
    def test_a_stamp_as_docker_writes_it(self, stamp: str) -> None:
        before = Attempt(1, failures=3, healthy_runs=HEALTHY_BEFORE)

        assert exited(before, ended(stamp), "", NOW).failures == 1

    @pytest.mark.parametrize("healthy", [{}, HEALTHY_BEFORE])
    def test_without_an_exit_code(self, healthy: Mapping[str, str]) -> None:
        attempt = exited(Attempt(1, healthy_runs=healthy), ended(exit_code=None), "", NOW)

        assert attempt.outcome
        assert "exit code" not in attempt.outcome.message


class TestAfterAnswer:
    def test_failures_to_start_are_reset(self) -> None:
        before = Attempt(1, failures=3, retry_at=NOW, outcome=Outcome("retry", "away", "Not now."))
        instance = ended()

        assert after_answer(before, instance, WEB_SERVICE) == Attempt(1, healthy_runs={"web": instance.run})

    def test_crashes_arent(self) -> None:
        before = Attempt(1, failures=3, healthy_runs=HEALTHY_BEFORE)

        assert after_answer(before, ended(), WEB_SERVICE) == replace(
            before, healthy_runs={"web": ended().run}
        )


CACHE = Service("cache", is_routed=False, is_kept=True)
JOB = Service("migrate", is_routed=False, is_job=True)


def of(service: Service, exit_code: int = 1) -> Instance:
    return replace(ended(exit_code=exit_code), service=service.name)


class TestServices:
    def test_before_the_generation_is_live_a_failure_ends_it_and_names_the_service(self) -> None:
        attempt = after_exit(Attempt(1), CACHE, Ending(of(CACHE, 3)), NOW)

        assert attempt.final
        assert attempt.outcome
        assert attempt.outcome.message == 'The service "cache" exited with exit code 3 before it was healthy.'
        assert attempt.failed_services["cache"].run == of(CACHE).run
        assert attempt.failures == 0

    def test_while_it_is_live_the_service_is_given_up_alone(self) -> None:
        attempt = Attempt(1, healthy_runs={"cache": "i1@before"})
        for _ in range(CRASHES_ALLOWED + 1):
            ending = Ending(of(CACHE), has_been_healthy=True)
            attempt = after_exit(attempt, CACHE, ending, NOW, is_live=True)

        assert (attempt.final, attempt.outcome, attempt.retry_at) == (False, None, None)
        assert attempt.failed_services["cache"].final
        assert degraded(attempt)["cache"].message == 'The service "cache" exited with exit code 1.'

    def test_one_that_was_healthy_in_an_earlier_generation_is_started_again(self) -> None:
        attempt = after_exit(Attempt(2), CACHE, Ending(of(CACHE), has_been_healthy=True), NOW)

        assert not attempt.final
        retry_at = attempt.failed_services["cache"].retry_at
        assert retry_at
        assert after_start(attempt, CACHE).failed_services["cache"].retry_at is None

    def test_a_service_that_is_healthy_again_is_no_failure_and_crashes_still_count(self) -> None:
        before = Attempt(1, healthy_runs={"cache": "i1@before"})
        crashed = after_exit(before, CACHE, Ending(of(CACHE), has_been_healthy=True), NOW)
        attempt = after_answer(crashed, of(CACHE), CACHE)

        assert (attempt.outcome, degraded(attempt)) == (None, {})
        assert attempt.failed_services["cache"] == ServiceFailure(1)

    def test_a_failed_action_for_a_service_leaves_the_count_of_the_main_one_alone(self) -> None:
        error = Retry("Not now.", reason="away")
        attempt = after_error(Attempt(1, failures=4), error, NOW, CACHE, run="i1@t")

        assert (attempt.failures, attempt.retry_at, attempt.final) == (4, None, False)
        assert attempt.failed_services["cache"].failures == 1
        assert attempt.outcome == replace(Outcome.of(error), service="cache")
        assert attempt.own_outcome is None
        assert after_answer(attempt, of(CACHE), CACHE).outcome is None

    def test_a_service_that_is_healthy_keeps_the_same_failure_of_the_main_one(self) -> None:
        error = Retry("Not now.", reason="away")
        attempt = after_error(after_error(Attempt(1), error, NOW, CACHE), error, NOW, WEB_SERVICE)

        assert after_answer(attempt, of(CACHE), CACHE).outcome == Outcome.of(error)

    def test_a_job_is_done_once_it_exited_with_0(self) -> None:
        done = after_exit(Attempt(1), JOB, Ending(of(JOB, 0)), NOW)
        failed = after_exit(Attempt(1), JOB, Ending(of(JOB, 1)), NOW)
        killed = after_exit(Attempt(1), JOB, Ending(of(JOB, 137)), NOW)

        assert done == Attempt(1, healthy_runs={"migrate": of(JOB).run})
        assert failed.final
        assert failed.outcome
        assert failed.outcome.message == 'The job "migrate" exited with exit code 1.'
        assert not killed.final

    def test_the_memory_limit_of_a_service_names_it(self) -> None:
        hungry = replace(of(CACHE, 137), memory_exceeded=512 << 20)
        attempt = after_exit(Attempt(1), CACHE, Ending(hungry), NOW)

        assert attempt.outcome
        assert attempt.outcome.message.startswith('The service "cache" was killed because it exceeded')
