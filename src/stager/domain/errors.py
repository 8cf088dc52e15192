"""The three ways in which a step can end badly; anything else is a bug of ours.

`control` decides by the kind, `web/problems.py` and `cli` put them into words for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["refused", "retry", "fault"]


class StagerError(Exception):
    """Base of the three endings.

    Args:
        message: what happened and where, one plain sentence.
        hint: what to do about it; may be empty.
        reason: a slug for metrics, logs and the docs, such as `image-missing`.
        detail: what the person may want to read next, such as the last lines of a log.
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


class Refused(StagerError):  # noqa: N818 (the design's own word: an ending, not an error)
    """Policy said no. Never shown with a traceback.

    Args:
        status: the HTTP status that fits, 400 unless told.
    """

    kind: Kind = "refused"

    def __init__(
        self, message: str, *, hint: str = "", reason: str, detail: str = "", status: int = 400
    ) -> None:
        super().__init__(message, hint=hint, reason=reason, detail=detail)
        self.status = status


class Retry(StagerError):  # noqa: N818
    """Not now: something that Stager needs isn't answering. It is tried again by itself."""

    kind: Kind = "retry"


class Fault(StagerError):  # noqa: N818
    """The user's application, image or configuration is broken; trying again won't help."""

    kind: Kind = "fault"


def sentences(first: str, second: str) -> str:
    """Two sentences as one text, with what is missing between them; either may be empty."""
    if not first or not second:
        return first or second
    stop = "" if first[-1] in ".?!:" else "."
    return f"{first}{stop} {second[0].upper()}{second[1:]}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended, as it is remembered and shown."""

    kind: Kind
    reason: str
    message: str
    hint: str = ""
    detail: str = ""

    @classmethod
    def of(cls, error: StagerError) -> Outcome:
        return cls(error.kind, error.reason, error.message, error.hint, error.detail)
