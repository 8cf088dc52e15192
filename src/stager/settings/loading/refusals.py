"""How validators say no, in words that `problems` can complete."""

from __future__ import annotations

from typing import NoReturn

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

Path = tuple[str | int, ...]


class Unfit(ValueError):  # noqa: N818 (a verdict on a value, read only by `problems`)
    """A value of the wrong form: `should be a duration such as "90s"`. What it was is added later, where
    it is known whether it may be shown."""


def refuse(*found: tuple[Path, str]) -> NoReturn:
    """Say several things at once from one validator.

    Args:
        found: pairs of the place, seen from the field that is being validated, and what is wrong there.
    """
    raise ValidationError.from_exception_data(
        "configuration",
        [
            InitErrorDetails(
                type=PydanticCustomError("refused", "{message}", {"message": message}), loc=path, input=None
            )
            for path, message in found
        ],
    )
