"""What a bad ending means for an attempt: another try, and when; or none."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from stager.domain.environment import Attempt, Instance
from stager.domain.errors import Outcome, Retry, StagerError
from stager.domain.text import binary_size
from stager.domain.unexpected import INTERNAL_ERROR

UNRESPONSIVE = "unresponsive"
"""The reason of an attempt whose live instance has stopped answering."""
LONGEST_PAUSE = timedelta(seconds=60)
CRASHES_ALLOWED = 5
"""How often in a row an instance that once answered may end by itself before it is given up."""
INTERNAL_ERRORS_ALLOWED = 3
"""How often a step that ends with an error that nobody expected is tried again. What is there at the fourth
try, 7 seconds after the first, seldom goes away by itself."""
KILLED = (137, 143)
"""128 + SIGKILL, 128 + SIGTERM: it was ended from outside, as by `docker stop`."""
LONG_RUN = timedelta(seconds=60)
"""An instance that ran this long ended for a new reason, so counting starts afresh."""


def after_error(attempt: Attempt, error: StagerError, now: datetime) -> Attempt:
    """The attempt after a step of it raised this. Only `Retry` is worth another try; an error that nobody
    expected only a few."""
    failures = attempt.failures + 1 if _repeats(attempt, error) else 1
    again = isinstance(error, Retry) and not (
        error.reason == INTERNAL_ERROR and failures > INTERNAL_ERRORS_ALLOWED
    )
    return replace(
        attempt,
        failures=failures,
        retry_at=now + pause(failures) if again else None,
        outcome=Outcome.of(error),
        final=not again,
    )


def after_exit(attempt: Attempt, instance: Instance, log: str, now: datetime, hint: str = "") -> Attempt:
    """The attempt after its instance ended. At boot that is final where it ended by itself or exceeded its
    memory limit; later it is started again, and so is one that somebody killed.

    Args:
        log: the instance's last lines.
        hint: what was found out about an end at boot; empty for nothing.
    """
    long_run = _ran_for(instance, now) >= LONG_RUN
    failures = 1 if long_run or _waited(attempt) else attempt.failures + 1
    own_end = not attempt.has_been_healthy(instance) and (
        bool(instance.memory_exceeded) or instance.exit_code not in KILLED
    )
    final = own_end or failures > CRASHES_ALLOWED
    return replace(
        attempt,
        failures=failures,
        retry_at=None if final else now + pause(failures),
        outcome=_exit_outcome(attempt, instance, log, hint),
        final=final,
    )


def after_answer(attempt: Attempt, instance: Instance) -> Attempt:
    """The attempt once its instance has answered. Earlier failures to start are forgiven, crashes aren't."""
    failures = attempt.failures if attempt.has_been_healthy(instance) else 0
    healthy_runs = {**attempt.healthy_runs, instance.service: instance.run}
    return replace(attempt, healthy_runs=healthy_runs, failures=failures, retry_at=None, outcome=None)


def after_silence(attempt: Attempt) -> Attempt:
    """The attempt once its instance, which is live, has left the last requests without an answer."""
    if attempt.outcome is not None:
        return attempt
    outcome = Outcome(
        "fault",
        UNRESPONSIVE,
        "The application is running, and left the last requests without an answer.",
        "Look at its log. `response_timeout` in Stager's configuration gives slow ones more time.",
    )
    return replace(attempt, outcome=outcome)


def after_sound(attempt: Attempt) -> Attempt:
    """The attempt once its instance has answered again."""
    return replace(attempt, outcome=None) if has_gone_silent(attempt) else attempt


def has_gone_silent(attempt: Attempt) -> bool:
    """Whether that is the matter with it."""
    return attempt.outcome is not None and attempt.outcome.reason == UNRESPONSIVE


def pause(failures: int) -> timedelta:
    """How long to wait after so many failures in a row: 1 s, 2 s, 4 s, ... a minute."""
    return min(LONGEST_PAUSE, timedelta(seconds=2 ** min(failures - 1, 10)))


def _repeats(attempt: Attempt, error: StagerError) -> bool:
    """Whether the attempt's failures count for this one: those of an engine that was away don't add up to an
    internal error that is given up."""
    before = attempt.outcome.reason if attempt.outcome else error.reason
    return INTERNAL_ERROR not in (before, error.reason) or before == error.reason


def _waited(attempt: Attempt) -> bool:
    """Whether its failures were those of what it needs, such as an engine that was away."""
    return attempt.outcome is not None and attempt.outcome.kind == "retry"


def _ran_for(instance: Instance, now: datetime) -> timedelta:
    try:
        return now - datetime.fromisoformat(instance.started_at)
    except ValueError:  # never started, or an engine with another notation
        return timedelta()


def _exit_outcome(attempt: Attempt, instance: Instance, log: str, hint: str) -> Outcome:
    if instance.memory_exceeded:
        return Outcome(
            "fault",
            "out-of-memory",
            f"The application was killed because it exceeded its memory limit of "
            f"{binary_size(instance.memory_exceeded)}.",
            "`memory` in the configuration sets the limit, for one application under `images` or for all "
            "under `defaults`.",
            log,
        )
    code = "" if instance.exit_code is None else f" with exit code {instance.exit_code}"
    if attempt.has_been_healthy(instance):
        return Outcome("fault", "crashed", f"The application ended by itself{code}.", detail=log)
    return Outcome(
        "fault",
        "exited",
        f"The application ended{code} before it answered.",
        hint or "Its last lines tell why; the command must stay in the foreground.",
        log,
    )
