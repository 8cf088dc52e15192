"""A failed deployment as one value, by which people, programs and agents can act: the API, the command line,
the pull request and the pages show the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from stager.domain.attempt import degraded
from stager.domain.deployment import Deployment
from stager.domain.diagnosis.causes import likely_cause
from stager.domain.diagnosis.stages import Stage, stage_of
from stager.domain.errors import Outcome
from stager.domain.text import lines_on_screen

MOST_LINES = 30
"""Of the excerpt."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a deployment isn't live, or not whole.

    Args:
        code: a slug that is stable across versions; see `StagerError.reason`.
        service: the service that failed; empty for the main one, and for the whole deployment.
        message: what happened, a sentence.
        excerpt: the last lines of the log that shows it, without secrets; may be empty.
        cause: what in the excerpt is the likely cause, a sentence; may be empty.
        hint: the change that mends it, with the file or setting; may be empty.
        retryable: whether the same commit may succeed when it is tried again.
        retry_at: when Stager tries it again; None if it doesn't.
    """

    code: str
    stage: Stage
    service: str
    message: str
    excerpt: tuple[str, ...] = ()
    cause: str = ""
    hint: str = ""
    retryable: bool = False
    retry_at: datetime | None = None


def failure_of(deployment: Deployment | None, *, with_log: bool = True) -> Failure | None:
    """The failure of a deployment; None while there is none.

    Args:
        deployment: None before the first action for its generation.
        with_log: whether the reader may see logs. Without, nothing that is quoted from one is in it.
    """
    if deployment is None:
        return None
    attempt = deployment.attempt
    outcome = attempt.outcome or next(iter(_degraded(deployment)), None)
    if outcome is None:
        return None
    # The log of the main service is stored with the deployment; that of another one with its failure.
    text = outcome.detail or ("" if outcome.service else deployment.log)
    excerpt = lines_on_screen(text)[-MOST_LINES:] if with_log else []
    cause = likely_cause(excerpt)
    again = attempt.retry_at is not None and not attempt.final
    return Failure(
        outcome.reason,
        stage_of(outcome.reason, deployment),
        outcome.service,
        outcome.message,
        tuple(excerpt),
        cause.sentence if cause else "",
        _hint(outcome, cause.remedy if cause else ""),
        outcome.kind == "retry",
        attempt.retry_at if again else None,
    )


def failure_in(outcome: Outcome, stage: Stage) -> Failure:
    """The failure of something other than a deployment, such as a snapshot."""
    excerpt = lines_on_screen(outcome.detail)[-MOST_LINES:]
    cause = likely_cause(excerpt)
    return Failure(
        outcome.reason,
        stage,
        outcome.service,
        outcome.message,
        tuple(excerpt),
        cause.sentence if cause else "",
        _hint(outcome, cause.remedy if cause else ""),
        outcome.kind == "retry",
    )


def _degraded(deployment: Deployment) -> Sequence[Outcome]:
    return [replace(outcome, service=name) for name, outcome in degraded(deployment.attempt).items()]


def _hint(outcome: Outcome, remedy: str) -> str:
    """The remedy of the cause first: it is about what the application itself said."""
    if not remedy or remedy in outcome.hint:
        return outcome.hint
    is_general = outcome.hint.startswith(GENERAL_HINTS)
    return remedy if is_general or not outcome.hint else f"{remedy} {outcome.hint}"


GENERAL_HINTS = ("Check the last lines of its log.",)
"""Beginnings of hints that say no more than that there is a log."""
