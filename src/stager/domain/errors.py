"""The three kinds of errors. Any other exception is a bug of Stager.

`control` decides by the kind; `web/problems.py` and `cli` turn errors into text for users.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["refused", "retry", "fault"]


class StagerError(Exception):
    """Base class of the three kinds.

    Args:
        message: what happened and where, one sentence.
        hint: what to do about it; may be empty.
        reason: a slug for metrics, logs and the docs, such as `image-missing`.
        detail: further text that helps, such as the last lines of a log.
    """

    kind: Kind = "fault"

    def __init__(self, message: str, *, hint: str = "", reason: str, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return sentences(self.message, self.hint)


class Refused(StagerError):  # noqa: N818 (the name of the kind)
    """The request was refused, by a rule or because it is invalid. Never shown with a traceback.

    Args:
        status: the HTTP status for it.
    """

    kind: Kind = "refused"

    def __init__(
        self, message: str, *, hint: str = "", reason: str, detail: str = "", status: int = 400
    ) -> None:
        super().__init__(message, hint=hint, reason=reason, detail=detail)
        self.status = status


class Retry(StagerError):  # noqa: N818
    """Something that Stager needs doesn't answer at the moment. Stager tries again."""

    kind: Kind = "retry"


class Fault(StagerError):  # noqa: N818
    """The user's application, image or configuration is broken. Trying again doesn't help."""

    kind: Kind = "fault"


def sentences(first: str, second: str) -> str:
    """Join two sentences, with a full stop between them if it is missing. Either may be empty."""
    if not first or not second:
        return first or second
    stop = "" if first[-1] in ".?!:" else "."
    return f"{first}{stop} {second[0].upper()}{second[1:]}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A failure as it is stored and shown.

    Args:
        service: the service that failed; empty for the main one, and for the whole deployment.
    """

    kind: Kind
    reason: str
    message: str
    hint: str = ""
    detail: str = ""
    service: str = ""

    @classmethod
    def of(cls, error: StagerError) -> Outcome:
        return cls(error.kind, error.reason, error.message, error.hint, error.detail)
