"""How validators report invalid values; `problems` turns the reports into messages."""

from __future__ import annotations

from typing import NoReturn

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

Path = tuple[str | int, ...]


class InvalidValue(ValueError):  # noqa: N818 (only read by `problems`)
    """A value of the wrong form: `should be a duration such as "90s"`. `problems` appends the value, unless
    it may be a secret."""


def refuse(*found: tuple[Path, str]) -> NoReturn:
    """Report several problems from one validator.

    Args:
        found: pairs of a path, relative to the validated field, and a message.
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
