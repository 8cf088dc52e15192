"""What all readers of GitHub's JSON are made of: tolerant models, and the types of what is read.

Only what Stager needs is read, and everything else may be missing, new or of another age or edition of
GitHub. What is needed is checked, because shas and refs reach environments and pages.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError


class Unreadable(ValueError):  # noqa: N818 (said of what was read)
    """JSON that isn't what it should be.

    Args:
        path: where, such as `pull_request.head.sha`; empty for the whole.
        problem: what is wrong there.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path


def text_of(value: object) -> str:
    """Any text for people, as something that can be stored: JSON can hold NUL and half a surrogate pair."""
    text = value if isinstance(value, str) else ""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def _in_utc(stamp: datetime) -> datetime:
    try:
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:  # within a day of the first moment that there is, or of the last
        raise ValueError("isn't a moment that can be told in UTC") from None


Text = Annotated[str, BeforeValidator(text_of)]
Number = Annotated[int, Field(gt=0, lt=2**63)]
"""Of a pull request or an issue; a database has no larger ones."""
Sha = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
Ref = Annotated[str, Field(pattern=r"^[^\x00-\x20\x7f]+$")]
"""All that git allows passes: a stranger's branch must not make a list of pull requests unreadable."""
Link = Annotated[str, Field(pattern=r"^https?://[^\x00-\x20]+$")]
Stamp = Annotated[datetime, AfterValidator(_in_utc)]


class Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


Model = TypeVar("Model", bound=Wire)


def parse(model: type[Model], value: Any) -> Model:
    """The value, read. Raises `Unreadable`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise Unreadable(".".join(map(str, first["loc"])), first["msg"]) from None
