"""The base classes of all sections of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A mapping in the configuration. The text below a field is its description in the reference page (see
    `stager.settings.descriptions`).

    A key without a value counts as absent, as in the first Stager.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, coerce_numbers_to_str=True)

    misplaced: ClassVar[Mapping[str, str]] = {}
    """Keys that belong elsewhere, each with the message for it."""

    unknown_key_hint: ClassVar[str] = ""
    """The hint for an unknown key that resembles no known one."""

    form: ClassVar[str] = ""
    """An example of this mapping, shown when a value of another shape is given."""

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, data: Any) -> Any:
        if data is None:
            return {}
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}


class Task(Section):
    """The top-level keys that belong to one task, which is one chapter of the reference page. Its docstring
    is the chapter's introduction."""

    title: ClassVar[str]
    """The chapter's heading."""

    example: ClassVar[str]
    """A complete configuration in YAML that shows the keys of this chapter."""

    nested: ClassVar[tuple[str, ...]] = ()
    """Sections within `images` and `defaults` that this chapter documents."""
