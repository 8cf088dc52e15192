"""What all that asks GitHub has in common: names in paths, and what to make of an answer that is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused, Retry
from stager.domain.source import Repository
from stager.forges.github.api import problems
from stager.forges.github.webhooks import wire

GONE = frozenset({404, 410})
"""What GitHub says of what isn't there, and of what we may not see."""


def names_of(repository: Repository, number: int = 0) -> dict[str, str]:
    """What fills in a path that is about a repository, or one of its pull requests."""
    return {"owner": repository.owner, "repo": repository.name, "number": str(number)}


def names_of_link(change: ChangeLink) -> dict[str, str]:
    """The same, of the pull request that an environment belongs to."""
    return {"owner": change.owner, "repo": change.repository, "number": str(change.number)}


@contextmanager
def retry_when_in_doubt(what: str) -> Iterator[None]:
    """Whoever asks what is the case gets an answer that is certain, or `Retry`."""
    try:
        yield
    except (Refused, wire.Unreadable) as error:
        raise doubt(error, what) from None


def doubt(error: Refused | Retry | wire.Unreadable, what: str) -> Retry:
    """The ending of a call that leaves open what is the case."""
    if isinstance(error, wire.Unreadable):
        return Retry(f"GitHub's answer about {what} can't be read: {error}.", reason=problems.UNREADABLE)
    return Retry(error.message, hint=error.hint, reason=error.reason, detail=error.detail)
