"""The attempt to bring one generation of an environment up, and the retry policy: whether and when it is
tried again after a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from stager.domain.environment import Instance, Service
from stager.domain.errors import Outcome, Retry, StagerError
from stager.domain.text import binary_size
from stager.domain.unexpected import INTERNAL_ERROR

UNRESPONSIVE = "unresponsive"
"""The reason of an attempt whose live instance no longer answers requests."""
LONGEST_PAUSE = timedelta(seconds=60)
CRASHES_ALLOWED = 5
"""How many times in a row an instance that was healthy may end before its deployment is given up."""
INTERNAL_ERRORS_ALLOWED = 3
"""How many times an action that failed with an unexpected error is tried again. A cause that persists at the
fourth try, 7 seconds after the first, seldom goes away by itself."""
KILLED = (137, 143)
"""128 + SIGKILL, 128 + SIGTERM: it was stopped from outside, as by `docker stop`."""
LONG_RUN = timedelta(seconds=60)
"""An instance that ran this long is taken to have ended for a new reason, so the count starts again."""


@dataclass(frozen=True, slots=True)
class ServiceFailure:
    """The failures of a service of one generation, other than the main one.

    Args:
        failures: how many times in a row an action for it failed or its instance ended.
        retry_at: the earliest time of the next try; None if it is due, or isn't tried again.
        outcome: the latest failure; None once the service is healthy again.
        final: whether the service is given up in this generation.
        run: the run (see `Instance.run`) that failed; empty if none did.
    """

    failures: int = 0
    retry_at: datetime | None = None
    outcome: Outcome | None = None
    final: bool = False
    run: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The progress of one generation's deployment. Kept across restarts of Stager.

    Args:
        failures: how many times in a row an action for its main service or its preparation failed, or the
            main service's instance ended.
        retry_at: the earliest time of the next try of these; None if nothing failed.
        outcome: the latest failure that keeps the generation from being live, None while there is none.
        final: whether the generation is given up; only a new generation is tried again.
        healthy_runs: by the name of the service, the run (see `Instance.run`) that passed its health check in
            this generation; of a job, the run that exited with 0.
        failed_services: by the name of the service, its failures; without the main service.
    """

    generation: int
    failures: int = 0
    retry_at: datetime | None = None
    outcome: Outcome | None = None
    final: bool = False
    healthy_runs: Mapping[str, str] = field(default_factory=dict)
    failed_services: Mapping[str, ServiceFailure] = field(default_factory=dict)

    def has_been_healthy(self, instance: Instance) -> bool:
        """Whether an instance of the same service has been healthy in this deployment."""
        return instance.service in self.healthy_runs

    def failure(self, service: Service | None) -> ServiceFailure:
        """The failures of this service. Those of the main one, and of the whole generation, for which None
        stands, are the attempt's own."""
        if service is None or service.is_main:
            return ServiceFailure(self.failures, self.retry_at, self.own_outcome, self.final)
        return self.failed_services.get(service.name, ServiceFailure())

    @property
    def own_outcome(self) -> Outcome | None:
        """The `outcome`, unless it is the failure of a service other than the main one."""
        return self.outcome if self.outcome is not None and not self.outcome.service else None


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of an instance's run.

    Args:
        instance: stopped.
        has_been_healthy: see `Observed.has_been_healthy`.
        log: the last lines of the instance's log.
        hint: the likely cause of an end at boot; empty if unknown.
    """

    instance: Instance
    has_been_healthy: bool = False
    log: str = ""
    hint: str = ""


def after_error(
    attempt: Attempt,
    error: StagerError,
    now: datetime,
    service: Service | None = None,
    *,
    run: str = "",
    is_live: bool = False,
) -> Attempt:
    """The attempt after one of its actions raised this error. `Retry` is tried again, an unexpected error
    `INTERNAL_ERRORS_ALLOWED` times, anything else never.

    Args:
        service: that the action was for; None for the whole generation.
        run: of the service's instance; empty if there is none.
        is_live: see `_with_failure`.
    """
    before = attempt.failure(service)
    failures = before.failures + 1 if _repeats(before, error) else 1
    again = isinstance(error, Retry) and not (
        error.reason == INTERNAL_ERROR and failures > INTERNAL_ERRORS_ALLOWED
    )
    retry_at = now + pause(failures) if again else None
    failure = ServiceFailure(failures, retry_at, Outcome.of(error), not again, run)
    return _with_failure(attempt, service, failure, is_live=is_live)


def after_exit(
    attempt: Attempt, service: Service, ending: Ending, now: datetime, *, is_live: bool = False
) -> Attempt:
    """The attempt after an instance of this service ended. A job that exited with 0 is done. Before the first
    passed health check the end is final if the instance ended by itself or exceeded its memory limit.
    Otherwise it is started again.

    Args:
        is_live: see `_with_failure`.
    """
    instance, before = ending.instance, attempt.failure(service)
    if service.is_job and instance.exit_code == 0:
        return after_answer(attempt, instance, service)
    long_run = _ran_for(instance, now) >= LONG_RUN
    failures = 1 if long_run or _waited(before) else before.failures + 1
    own_end = not ending.has_been_healthy and (
        bool(instance.memory_exceeded) or instance.exit_code not in KILLED
    )
    final = own_end or failures > CRASHES_ALLOWED
    retry_at = None if final else now + pause(failures)
    failure = ServiceFailure(failures, retry_at, _exit_outcome(service, ending), final, instance.run)
    return _with_failure(attempt, service, failure, is_live=is_live)


def after_start(attempt: Attempt, service: Service) -> Attempt:
    """The attempt after an instance of this service was started."""
    if service.is_main:
        return replace(attempt, retry_at=None)
    failure = attempt.failed_services.get(service.name)
    return _with_entry(attempt, service, replace(failure, retry_at=None)) if failure else attempt


def after_answer(attempt: Attempt, instance: Instance, service: Service) -> Attempt:
    """The attempt after an instance of this service passed the health check, or its job was done. This resets
    the count of failed starts, but not that of crashes."""
    failures = attempt.failure(service).failures if attempt.has_been_healthy(instance) else 0
    healthy = replace(attempt, healthy_runs={**attempt.healthy_runs, service.name: instance.run})
    if service.is_main:
        return replace(healthy, failures=failures, retry_at=None, outcome=None)
    healthy = _with_entry(healthy, service, ServiceFailure(failures))
    is_its_own = attempt.outcome is not None and attempt.outcome.service == service.name
    return replace(healthy, outcome=None) if is_its_own else healthy


def degraded(attempt: Attempt) -> Mapping[str, Outcome]:
    """The latest failure of each service that isn't healthy since, by its name; without the main service."""
    return {
        name: failure.outcome
        for name, failure in attempt.failed_services.items()
        if failure.outcome is not None
    }


def _with_failure(
    attempt: Attempt, service: Service | None, failure: ServiceFailure, *, is_live: bool
) -> Attempt:
    """The attempt with the failure of a service.

    Args:
        is_live: whether the generation has been live. Then it stays so without this service, unless it is the
            main one.
    """
    if service is None or service.is_main:
        return replace(
            attempt,
            failures=failure.failures,
            retry_at=failure.retry_at,
            outcome=failure.outcome,
            final=failure.final,
        )
    attempt = _with_entry(attempt, service, failure)
    if is_live or failure.outcome is None:
        return attempt
    outcome = replace(failure.outcome, service=service.name)
    return replace(attempt, outcome=outcome, final=attempt.final or failure.final)


def _with_entry(attempt: Attempt, service: Service, failure: ServiceFailure) -> Attempt:
    failed_services = {**attempt.failed_services, service.name: failure}
    if failure == ServiceFailure():
        del failed_services[service.name]
    return replace(attempt, failed_services=failed_services)


def after_silence(attempt: Attempt) -> Attempt:
    """The attempt after its live instance left the last requests unanswered."""
    if attempt.outcome is not None:
        return attempt
    outcome = Outcome(
        "fault",
        UNRESPONSIVE,
        "The application is running, but didn't answer the last requests.",
        "Check its log. Raise `response_timeout` in Stager's configuration if the application is slow.",
    )
    return replace(attempt, outcome=outcome)


def after_sound(attempt: Attempt) -> Attempt:
    """The attempt after its instance answered again."""
    return replace(attempt, outcome=None) if has_gone_silent(attempt) else attempt


def has_gone_silent(attempt: Attempt) -> bool:
    """Whether its instance is unresponsive."""
    return attempt.outcome is not None and attempt.outcome.reason == UNRESPONSIVE


def pause(failures: int) -> timedelta:
    """The delay after this many failures in a row: 1 s, 2 s, 4 s, up to one minute."""
    return min(LONGEST_PAUSE, timedelta(seconds=2 ** min(failures - 1, 10)))


def _repeats(before: ServiceFailure, error: StagerError) -> bool:
    """Whether the error continues the row of failures. Those of an unreachable engine don't count towards the
    limit of internal errors."""
    reason = before.outcome.reason if before.outcome else error.reason
    return INTERNAL_ERROR not in (reason, error.reason) or reason == error.reason


def _waited(before: ServiceFailure) -> bool:
    """Whether its last failure was that of something it needs, such as an unreachable engine."""
    return before.outcome is not None and before.outcome.kind == "retry"


def _ran_for(instance: Instance, now: datetime) -> timedelta:
    try:
        return now - datetime.fromisoformat(instance.started_at)
    except ValueError:  # never started, or an engine with another format
        return timedelta()


def _exit_outcome(service: Service, ending: Ending) -> Outcome:
    instance, subject = ending.instance, _subject(service)
    if instance.memory_exceeded:
        return Outcome(
            "fault",
            "out-of-memory",
            f"{subject} was killed because it exceeded its memory limit of "
            f"{binary_size(instance.memory_exceeded)}.",
            "Raise `memory` in the configuration, for one application under `images` or for all under "
            "`defaults`.",
            ending.log,
        )
    code = "" if instance.exit_code is None else f" with exit code {instance.exit_code}"
    if ending.has_been_healthy:
        return Outcome("fault", "crashed", f"{subject} exited{code}.", detail=ending.log)
    return Outcome(
        "fault", "exited", f"{subject} exited{code}{_before(service)}.", _advice(service, ending), ending.log
    )


def _subject(service: Service) -> str:
    if service.is_main:
        return "The application"
    return f'The {"job" if service.is_job else "service"} "{service.name}"'


def _before(service: Service) -> str:
    if service.is_job:
        return ""
    return " before it answered a request" if service.is_main else " before it was healthy"


def _advice(service: Service, ending: Ending) -> str:
    if service.is_job:
        further = "What it changed in volumes that are kept stays changed."
    else:
        further = "The command must stay in the foreground."
    return ending.hint or f"Check the last lines of its log. {further}"
