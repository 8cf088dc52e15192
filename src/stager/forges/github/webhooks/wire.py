"""Base model and field types of the parsers of GitHub's JSON.

Only fields that Stager uses are read; all others may be missing, new, or differ between versions and editions
of GitHub. Those that are read are validated, because commit ids and refs reach environments and pages.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError


class Unreadable(ValueError):  # noqa: N818
    """JSON with an unexpected form.

    Args:
        path: of the field, such as `pull_request.head.sha`; empty for the whole.
        problem: what is wrong with it.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path


def text_of(value: object) -> str:
    """Text that can be stored: JSON may contain NUL and unpaired surrogates."""
    text = value if isinstance(value, str) else ""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def _in_utc(stamp: datetime) -> datetime:
    try:
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:  # within a day of the first moment that there is, or of the last
        raise ValueError("isn't a time that can be converted to UTC") from None


Text = Annotated[str, BeforeValidator(text_of)]
Number = Annotated[int, Field(gt=0, lt=2**63)]
"""Of a pull request or an issue; at most what the database can store."""
Sha = Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
Ref = Annotated[str, Field(pattern=r"^[^\x00-\x20\x7f]+$")]
"""All that git allows: an unusual branch name must not make a list of pull requests unreadable."""
Link = Annotated[str, Field(pattern=r"^https?://[^\x00-\x20]+$")]
Stamp = Annotated[datetime, AfterValidator(_in_utc)]


class Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


Model = TypeVar("Model", bound=Wire)


def parse(model: type[Model], value: Any) -> Model:
    """Parse a value. Raises `Unreadable`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise Unreadable(".".join(map(str, first["loc"])), first["msg"]) from None
