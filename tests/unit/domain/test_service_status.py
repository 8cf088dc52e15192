"""The state of each service, and of a preview some of whose services failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stager.domain.attempt import Attempt, ServiceFailure
from stager.domain.deployment import DeployedService, Deployment
from stager.domain.environment import Environment, Suspension, SuspensionReason
from stager.domain.errors import Outcome
from stager.domain.service import Condition, ServiceSpec
from stager.domain.service_status import ServiceState, ServiceStatus, service_statuses
from stager.domain.source import Revision
from stager.domain.status import State, status_of, summary_of
from tests.unit.domain.test_status import ENVIRONMENT, wanted
from tests.unit.domain.world import START

EXITED = Outcome("fault", "exited", 'The service "worker" exited with exit code 1.', "Check its log.", "a\nb")
SERVICES = (
    DeployedService(ServiceSpec("web", depends_on={"db": Condition.HEALTHY}), "i1", is_main=True),
    DeployedService(ServiceSpec("db", image="postgres:16"), "i2", is_kept=True),
    DeployedService(ServiceSpec("worker", depends_on={"db": Condition.STARTED}), "i1"),
    DeployedService(ServiceSpec("seed", is_job=True), "i1"),
)
ALL = {"web": "w@1", "db": "d@1", "worker": "k@1", "seed": "s@1"}


def deployment(generation: int = 2, **attempt: object) -> Deployment:
    made = Attempt(generation, **attempt)  # type: ignore[arg-type]
    return Deployment(f"d{generation}", "e", Revision("c0ffee"), made, START, services=SERVICES)


def states(deployment: Deployment, environment: Environment = ENVIRONMENT) -> dict[str, str]:
    return {each.service.name: each.state.value for each in service_statuses(environment, deployment)}


def of(name: str, statuses: tuple[ServiceStatus, ...]) -> ServiceStatus:
    return next(each for each in statuses if each.service.name == name)


class TestService:
    def test_at_first(self) -> None:
        assert states(deployment()) == {
            "web": "waiting",
            "db": "starting",
            "worker": "starting",
            "seed": "starting",
        }

    def test_once_all_are_ready(self) -> None:
        found = states(deployment(healthy_runs=ALL))
        assert found == {"web": "healthy", "db": "healthy", "worker": "healthy", "seed": "completed"}

    @pytest.mark.parametrize(
        ("final", "state"), [(False, ServiceState.RESTARTING), (True, ServiceState.FAILED)]
    )
    def test_one_that_failed_has_its_failure(self, final: bool, state: ServiceState) -> None:
        failed = {"worker": ServiceFailure(1, outcome=EXITED, final=final)}
        statuses = service_statuses(ENVIRONMENT, deployment(healthy_runs=ALL, failed_services=failed))
        assert (of("worker", statuses).state, of("worker", statuses).failure) == (state, EXITED)
        assert of("web", statuses).failure is None

    def test_the_failure_of_another_isnt_the_main_ones(self) -> None:
        failed = {"worker": ServiceFailure(1, outcome=EXITED, final=True)}
        broken = deployment(outcome=replace(EXITED, service="worker"), final=True, failed_services=failed)
        assert states(broken) == {"web": "stopped", "db": "stopped", "worker": "failed", "seed": "stopped"}

    def test_the_same_failure_of_both(self) -> None:
        failed = {"worker": ServiceFailure(1, outcome=EXITED, final=True)}
        found = states(deployment(outcome=EXITED, final=True, failed_services=failed))
        assert (found["web"], found["worker"]) == ("failed", "failed")

    def test_the_main_ones_own(self) -> None:
        own = replace(EXITED, message="The application exited.")
        statuses = service_statuses(ENVIRONMENT, deployment(outcome=own, final=True))
        assert (of("web", statuses).state, of("web", statuses).failure) == (ServiceState.FAILED, own)

    def test_of_a_stopped_preview(self) -> None:
        stopped = wanted(suspension=Suspension(SuspensionReason.KILLED, "Stopped."))
        assert states(deployment(healthy_runs=ALL), stopped) == {
            "web": "stopped",
            "db": "stopped",
            "worker": "stopped",
            "seed": "completed",
        }

    def test_one_is_reused_if_the_same_instance_was_healthy_before(self) -> None:
        now = deployment(3, healthy_runs={**ALL, "db": "d@2"})
        earlier = deployment(2, healthy_runs=ALL)
        found = service_statuses(ENVIRONMENT, now, earlier)
        assert [each.service.name for each in found if each.is_reused] == ["db"]
        other = deployment(2, healthy_runs={**ALL, "db": "other@1"})
        assert not of("db", service_statuses(ENVIRONMENT, now, other)).is_reused
        assert not of("db", service_statuses(ENVIRONMENT, deployment(3), deployment(2))).is_reused


class TestDegraded:
    FAILED = ServiceFailure(6, outcome=EXITED, final=True)

    def test_the_preview_is_live_and_the_service_is_named(self) -> None:
        degraded = deployment(healthy_runs=ALL, failed_services={"worker": self.FAILED})
        environment = wanted(2)
        status = status_of(environment, degraded)
        assert (status.state, status.message, status.hint) == (State.DEGRADED, EXITED.message, EXITED.hint)
        assert (status.reason, status.lines, status.settled) == ("exited", ("a", "b"), True)
        assert summary_of(environment, status, degraded, None) == (
            "The preview is live, but the service worker isn't running."
        )

    def test_several_are_named(self) -> None:
        failures = dict.fromkeys(("worker", "db", "mail"), self.FAILED)
        degraded = deployment(failed_services=failures)
        summary = summary_of(wanted(2), status_of(wanted(2), degraded), degraded, None)
        assert summary == "The preview is live, but the services worker, db and mail aren't running."

    def test_once_it_is_healthy_again_it_isnt(self) -> None:
        again = deployment(healthy_runs=ALL, failed_services={"worker": ServiceFailure(3)})
        assert status_of(wanted(2), again).state is State.LIVE

    def test_before_it_is_live_it_isnt(self) -> None:
        starting = deployment(failed_services={"worker": ServiceFailure(1, outcome=EXITED)})
        assert status_of(wanted(1), starting).state is State.UPDATING
