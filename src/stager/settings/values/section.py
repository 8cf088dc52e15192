"""What all sections of the configuration have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A mapping in the configuration. The text below a field is its description, in the reference as well.

    A key without a value counts as absent, as the first Stager had it.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, coerce_numbers_to_str=True
    )

    misplaced: ClassVar[Mapping[str, str]] = {}
    """Keys that people may well expect here, each with what to say of it."""

    stranger: ClassVar[str] = ""
    """What to add when an unknown key resembles no known one."""

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, data: Any) -> Any:
        if data is None:
            return {}
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}
