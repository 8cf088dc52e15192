"""Helpers for requests: path parameters, and errors of queries without a certain answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused, Retry
from stager.domain.source import Repository
from stager.forges.github.api import problems
from stager.forges.github.webhooks import wire

GONE = frozenset({404, 410})
"""Statuses for objects that don't exist, and for those that Stager has no access to."""


def names_of(repository: Repository, number: int = 0) -> dict[str, str]:
    """Path parameters of a repository, or of one of its pull requests."""
    return {"owner": repository.owner, "repo": repository.name, "number": str(number)}


def names_of_link(change: ChangeLink) -> dict[str, str]:
    """Path parameters of an environment's pull request."""
    return {"owner": change.owner, "repo": change.repository, "number": str(change.number)}


@contextmanager
def retry_if_unknown(what: str) -> Iterator[None]:
    """Convert errors of a query to `Retry`: its answer is unknown."""
    try:
        yield
    except (Refused, wire.Unreadable) as error:
        raise doubt(error, what) from None


def doubt(error: Refused | Retry | wire.Unreadable, what: str) -> Retry:
    """The `Retry` for a call whose result is unknown."""
    if isinstance(error, wire.Unreadable):
        return Retry(f"GitHub's response about {what} can't be parsed: {error}.", reason=problems.UNREADABLE)
    return Retry(error.message, hint=error.hint, reason=error.reason, detail=error.detail)
