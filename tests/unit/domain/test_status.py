"""One table from which page, comment and API are made; and the phase of a deployment."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from stager.domain.attempt import Attempt
from stager.domain.deployment import DeployedService, Deployment, Phase, phase_of
from stager.domain.environment import (
    ChangeLink,
    Desired,
    Environment,
    EnvironmentKey,
    RunState,
    Suspension,
    SuspensionReason,
)
from stager.domain.errors import Fault, Outcome, Refused, Retry, StagerError, sentences
from stager.domain.service import ServiceSpec
from stager.domain.source import Revision
from stager.domain.status import LINES_SHOWN, State, page_of, status_of, summary_of
from tests.unit.domain.world import START

LINK = ChangeLink("github:10", "acme", "shop", 7, "main", "Title", "ann", "https://forge.test/7")
BROKEN = Outcome("fault", "exited", "It ended.", "Look.", "first\nlast")
PASSING = Outcome("retry", "engine-away", "The engine doesn't answer.", "Is it running?")
KILLED = Suspension(SuspensionReason.KILLED, "Stopped by hand.", "Launch it.")
FORK = Suspension(SuspensionReason.FORK, "It comes from a fork.")

ENVIRONMENT = Environment(
    "e", EnvironmentKey.of_name("shop", "x"), "x", "x.test", Desired(RunState.RUNNING, 2), START, START
)
DEPLOYMENT = Deployment("d", "e", Revision("c0ffee", "x"), Attempt(2), START)


def wanted(
    serving: int | None = None, suspension: Suspension | None = None, *, present: bool = True
) -> Environment:
    desired = ENVIRONMENT.desired.suspended(suspension) if suspension else ENVIRONMENT.desired
    return replace(ENVIRONMENT, serving=serving, desired=desired if present else desired.absent())


def asleep(serving: int) -> Environment:
    environment = wanted(serving)
    return replace(environment, desired=environment.desired.asleep(), asleep_runs=frozenset({"i@t1"}))


def waking(serving: int) -> Environment:
    return replace(wanted(serving), asleep_runs=frozenset({"i@t1"}))


def tried(**attempt: object) -> Deployment:
    return replace(DEPLOYMENT, attempt=Attempt(2, **attempt))  # type: ignore[arg-type]


FAILED = tried(final=True, outcome=BROKEN)


class TestState:
    @pytest.mark.parametrize(
        ("environment", "deployment", "state"),
        [
            (wanted(), None, State.STARTING),
            (wanted(), DEPLOYMENT, State.STARTING),
            (asleep(2), DEPLOYMENT, State.ASLEEP),
            (asleep(1), FAILED, State.ASLEEP),
            (waking(2), DEPLOYMENT, State.WAKING),
            (waking(1), FAILED, State.WAKING),
            (wanted(1), None, State.UPDATING),
            (wanted(1), DEPLOYMENT, State.UPDATING),
            (wanted(2), DEPLOYMENT, State.LIVE),
            (wanted(), FAILED, State.FAILED),
            (wanted(1), FAILED, State.FAILED_UPDATE),
            (wanted(), tried(outcome=PASSING), State.STARTING),
            (wanted(1), tried(outcome=PASSING), State.UPDATING),
            (wanted(suspension=KILLED), FAILED, State.STOPPED),
            (wanted(2, KILLED), DEPLOYMENT, State.STOPPED),
            (wanted(suspension=FORK), None, State.REFUSED),
            (wanted(present=False), FAILED, State.GONE),
            (wanted(2, present=False), DEPLOYMENT, State.GONE),
            (wanted(suspension=FORK, present=False), None, State.GONE),
        ],
    )
    def test_of_each_combination(
        self, environment: Environment, deployment: Deployment | None, state: State
    ) -> None:
        assert status_of(environment, deployment).state is state

    def test_every_combination_has_a_sentence_and_a_page(self) -> None:
        suspensions = [None, *(Suspension(reason, "Suspended.") for reason in SuspensionReason)]
        attempts = [None, DEPLOYMENT, FAILED, tried(final=True), tried(outcome=PASSING)]
        for serving, suspension, present, deployment, change in itertools.product(
            (None, 1, 2), suspensions, (True, False), attempts, (None, LINK)
        ):
            environment = replace(wanted(serving, suspension, present=present), change=change)
            status = status_of(environment, deployment)
            page = page_of(environment, status)
            assert status.message.endswith(".")
            assert status.settled is (status.state not in (State.STARTING, State.UPDATING, State.QUEUED))
            assert (page.name, page.app) == ("x", "shop")
            assert page.message == status.message or not (page.message or status.settled)
            assert page.url == (LINK.url if change else "")

    @pytest.mark.parametrize("state", State)
    def test_every_state_has_a_page(self, state: State) -> None:
        shown = {
            State.QUEUED: "queued",
            State.STARTING: "starting",
            State.BUILDING: "building",
            State.LIVE: "starting",
            State.UNRESPONSIVE: "starting",
            State.DEGRADED: "starting",
            State.UPDATING: "starting",
            State.FAILED: "failed",
            State.FAILED_UPDATE: "failed",
            State.ASLEEP: "asleep",
            State.WAKING: "waking",
            State.STOPPED: "stopped",
            State.EXPIRED: "expired",
            State.REFUSED: "refused",
            State.GONE: "gone",
        }
        status = replace(status_of(ENVIRONMENT, None), state=state)
        assert page_of(ENVIRONMENT, status).state == shown[state]


class TestWords:
    def test_a_failure_says_at_which_stage_with_the_last_lines(self) -> None:
        status = status_of(wanted(), FAILED)

        assert status.message == "Failed while starting: It ended."
        assert (status.hint, status.reason, status.lines) == ("Look.", "exited", ("first", "last"))

    def test_a_build_says_itself_where_it_failed(self) -> None:
        outcome = Outcome("fault", "build-failed", "Building failed at step 3/5.")
        failed = replace(FAILED, attempt=replace(FAILED.attempt, outcome=outcome))

        assert status_of(wanted(), failed).message == "Building failed at step 3/5."

    @pytest.mark.parametrize(
        ("reached", "stage"),
        [
            ({}, "starting"),
            ({"starting_at": START}, "starting"),
            ({"checking_at": START}, "checking"),
            ({"checking_at": START, "live_at": START}, "running"),
        ],
    )
    def test_each_stage(self, reached: dict[str, object], stage: str) -> None:
        assert replace(DEPLOYMENT, **reached).stage == stage  # type: ignore[arg-type]

    def test_a_long_log_is_cut_from_the_front(self) -> None:
        text = "\n".join(str(number) for number in range(100))
        lines = status_of(wanted(), tried(final=True, outcome=replace(BROKEN, detail=text))).lines

        assert len(lines) == LINES_SHOWN
        assert lines[-1] == "99"

    def test_the_log_stands_in_for_a_missing_detail(self) -> None:
        deployment = replace(tried(final=True, outcome=replace(BROKEN, detail="")), log="from the log")

        assert status_of(wanted(), deployment).lines == ("from the log",)

    def test_what_may_pass_is_tried_again(self) -> None:
        status = status_of(wanted(), tried(outcome=PASSING))

        assert status.message == "The engine doesn't answer. Trying again."
        assert status.reason == "engine-away"

    def test_a_suspension_has_its_own_words(self) -> None:
        status = status_of(wanted(suspension=KILLED), None)

        assert (status.message, status.hint, status.reason) == (KILLED.message, KILLED.hint, "killed")

    @pytest.mark.parametrize(
        ("reason", "state"),
        [
            (SuspensionReason.FORK, "refused"),
            (SuspensionReason.RULES, "refused"),
            (SuspensionReason.APPROVAL, "approval"),
            (SuspensionReason.CHECKS, "checks"),
            (SuspensionReason.KILLED, "stopped"),
        ],
    )
    def test_the_page_of_each_suspension(self, reason: SuspensionReason, state: str) -> None:
        environment = wanted(suspension=Suspension(reason, "Suspended.", "Wait."))
        page = page_of(environment, status_of(environment, None))

        assert (page.state, page.message, page.hint, page.reason) == (state, "Suspended.", "Wait.", reason)

    def test_a_page_has_the_place_in_the_queue(self) -> None:
        status = replace(status_of(wanted(), DEPLOYMENT), message="2 builds are before it.", place=3)
        page = page_of(wanted(), status, deployment=DEPLOYMENT)

        assert (page.state, page.place, page.message) == ("queued", 3, "2 builds are before it.")

    @pytest.mark.parametrize(
        ("reached", "state", "stage", "stages"),
        [
            ({}, "starting", "", ("starting", "checking")),
            ({"building_at": START}, "building", "building", ("building", "starting", "checking")),
            ({"starting_at": START}, "starting", "starting", ("starting", "checking")),
            (
                {"building_at": START, "starting_at": START, "checking_at": START},
                "starting",
                "checking",
                ("building", "starting", "checking"),
            ),
        ],
    )
    def test_a_page_has_the_stage(
        self, reached: dict[str, object], state: str, stage: str, stages: tuple[str, ...]
    ) -> None:
        deployment = replace(DEPLOYMENT, **reached)  # type: ignore[arg-type]
        page = page_of(wanted(), status_of(wanted(), deployment), deployment=deployment)

        assert (page.state, page.stage, page.stages) == (state, stage, stages)
        assert page.since == START.timestamp()

    def test_the_page_of_a_preview_that_wakes_has_no_stage_and_no_time(self) -> None:
        live = replace(DEPLOYMENT, starting_at=START, checking_at=START, live_at=START)
        environment = replace(wanted(2), asleep_runs=frozenset({"i@1"}))
        page = page_of(environment, status_of(environment, live), deployment=live)

        assert (page.state, page.message, page.stage, page.since) == ("waking", "", "", 0)

    def test_the_page_of_a_failure_has_the_stage_at_which_it_failed(self) -> None:
        failed = replace(FAILED, building_at=START, starting_at=START, checking_at=START)
        page = page_of(wanted(), status_of(wanted(), failed), deployment=failed)

        assert (page.state, page.stage, page.reason) == ("failed", "checking", "exited")
        assert (page.lines, page.lines_title, page.since) == (("first", "last"), "Last lines of the log", 0)

    @pytest.mark.parametrize(
        ("reason", "title"),
        [
            ("exited", "Last lines of the log"),
            ("build-failed", "Last lines of the build log"),
            ("compose-refused", "What Stager found in the Compose file"),
            ("source-refused", "What git printed"),
            ("hook-failed", "Last lines of the hook's output"),
        ],
    )
    def test_the_lines_have_their_own_heading(self, reason: str, title: str) -> None:
        assert (
            status_of(wanted(), tried(final=True, outcome=replace(BROKEN, reason=reason))).lines_title
            == title
        )

    def test_a_page_of_a_suspension_has_no_stage_of_what_was_before(self) -> None:
        page = page_of(
            wanted(suspension=KILLED), status_of(wanted(suspension=KILLED), FAILED), deployment=FAILED
        )

        assert (page.stage, page.stages, page.lines) == ("", (), ())

    def test_the_page_says_what_isnt_ready(self) -> None:
        services = tuple(
            DeployedService(ServiceSpec(name), "image", is_main=name == "web")
            for name in ("web", "database", "search")
        )
        started = replace(DEPLOYMENT, starting_at=START, services=services)

        def message(deployment: Deployment) -> str:
            return page_of(wanted(), status_of(wanted(), deployment), deployment=deployment).message

        assert message(started) == "The services database and search are starting."
        healthy = replace(started, attempt=replace(started.attempt, healthy_runs={"database": "i@1"}))
        assert message(healthy) == "The service search is starting."
        ready = {"database": "i@1", "search": "j@1"}
        checked = replace(started, checking_at=START, attempt=replace(started.attempt, healthy_runs=ready))
        assert message(checked) == "The application was started, but doesn't respond yet."

    def test_a_page_names_the_author_of_the_pull_request(self) -> None:
        environment = replace(wanted(), change=LINK)
        page = page_of(environment, status_of(environment, FAILED), deployment=FAILED)

        assert (page.author, page.number, page.url) == ("ann", 7, LINK.url)

    def test_a_closed_change_is_named(self) -> None:
        gone = wanted(present=False)

        assert "#7" in status_of(replace(gone, change=LINK), None).message
        assert status_of(gone, None).message == "This preview was removed."


class TestPhase:
    @pytest.mark.parametrize(
        ("deployment", "environment", "phase"),
        [
            (DEPLOYMENT, wanted(), Phase.QUEUED),
            (replace(DEPLOYMENT, starting_at=START), wanted(), Phase.STARTING),
            (replace(DEPLOYMENT, starting_at=START, checking_at=START), wanted(), Phase.CHECKING),
            (DEPLOYMENT, wanted(2), Phase.LIVE),
            (FAILED, wanted(), Phase.FAILED),
            (FAILED, wanted(present=False), Phase.FAILED),
            (replace(DEPLOYMENT, attempt=Attempt(1)), wanted(), Phase.SUPERSEDED),
            (replace(DEPLOYMENT, attempt=Attempt(1)), wanted(1), Phase.LIVE),
            (replace(DEPLOYMENT, attempt=Attempt(1)), wanted(2), Phase.SUPERSEDED),
            (DEPLOYMENT, wanted(present=False), Phase.ENDED),
            (DEPLOYMENT, wanted(suspension=KILLED), Phase.ENDED),
        ],
    )
    def test_is_derived(self, deployment: Deployment, environment: Environment, phase: Phase) -> None:
        assert phase_of(deployment, environment) is phase


class TestErrors:
    @pytest.mark.parametrize(
        ("kind", "name"), [(Refused, "refused"), (Retry, "retry"), (Fault, "fault"), (StagerError, "fault")]
    )
    def test_an_ending_is_kept_as_it_was(self, kind: type[StagerError], name: str) -> None:
        error = kind("It ended.", hint="Look.", reason="exited", detail="log")

        assert Outcome.of(error) == Outcome(name, "exited", "It ended.", "Look.", "log")  # type: ignore[arg-type]
        assert str(error) == "It ended. Look."

    def test_a_refusal_is_400_unless_given(self) -> None:
        assert Refused("No.", reason="no").status == 400
        assert Refused("No.", reason="no", status=409).status == 409

    @pytest.mark.parametrize(
        ("first", "second", "text"),
        [
            ("", "", ""),
            ("It ended.", "", "It ended."),
            ("", "Look.", "Look."),
            ("It ended", "look.", "It ended. Look."),
            ("Which one?", "look.", "Which one? Look."),
        ],
    )
    def test_two_sentences(self, first: str, second: str, text: str) -> None:
        assert sentences(first, second) == text


class TestSummary:
    NEW, OLD = Revision("bfc6578" + "b" * 33, "x"), Revision("d455750" + "a" * 33, "x")
    BUILDING = replace(DEPLOYMENT, revision=NEW, building_at=START)
    STARTED = replace(DEPLOYMENT, revision=NEW, starting_at=START)

    def summary(
        self,
        deployment: Deployment,
        serving: int | None,
        older: Revision | None = None,
        *,
        failed: bool = False,
    ) -> str:
        environment = wanted(serving)
        environment = replace(environment, desired=replace(environment.desired, revision=deployment.revision))
        if failed:
            deployment = replace(deployment, attempt=FAILED.attempt)
        served = replace(DEPLOYMENT, revision=older) if older else None
        return summary_of(environment, status_of(environment, deployment), deployment, served)

    def test_names_the_commit_and_the_one_that_visitors_see(self) -> None:
        assert self.summary(self.STARTED, 2) == "Commit bfc6578 is live."
        assert self.summary(self.BUILDING, None) == "Commit bfc6578 is being built."
        assert self.summary(self.STARTED, None, failed=True) == "Commit bfc6578 failed to start."
        still = "Visitors still see d455750."
        assert self.summary(self.BUILDING, 1, self.OLD) == f"Commit bfc6578 is being built. {still}"
        assert (
            self.summary(self.BUILDING, 1, self.OLD, failed=True)
            == f"Commit bfc6578 failed to build. {still}"
        )

    @pytest.mark.parametrize("older", [None, NEW, Revision()])
    def test_of_an_unknown_or_the_same_commit(self, older: Revision | None) -> None:
        assert self.summary(self.STARTED, 1, older) == (
            "Commit bfc6578 is starting. Visitors still see the previous deployment."
        )

    def test_of_what_has_no_commit_or_doesnt_run(self) -> None:
        nameless = replace(DEPLOYMENT, revision=Revision())
        assert self.summary(nameless, 2) == "The preview is live."
        stopped = wanted(suspension=KILLED)
        assert summary_of(stopped, status_of(stopped, None), None, None) == KILLED.message
