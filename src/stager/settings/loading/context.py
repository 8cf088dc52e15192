"""The context of a validation, and the types of values that depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from stager.settings.loading.refusals import InvalidValue
from stager.settings.plugins.available import Kind, Known
from stager.settings.values.scalars import Form


@dataclass(frozen=True, slots=True)
class Context:
    """What validators know besides the value; passed to pydantic as its validation context.

    Args:
        folder: the folder of the configuration file, which paths are relative to.
        environ: the environment variables.
        known: the names of pluggable classes.
    """

    folder: Path = field(default_factory=Path.cwd)
    environ: Mapping[str, str] = field(default_factory=dict)
    known: Known = field(default_factory=Known)

    @classmethod
    def of(cls, info: ValidationInfo) -> Context:
        """The context of this validation; an empty one for a model that code creates."""
        return info.context if isinstance(info.context, cls) else cls()


@dataclass(frozen=True, slots=True)
class NameOf:
    """Marks a text as the name of a pluggable class; short names are replaced by full ones."""

    kind: Kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._full_name, handler(source))

    def _full_name(self, name: str, info: ValidationInfo) -> str:
        return Context.of(info).known.full_name(self.kind, name)


def _named(path: Any) -> Any:
    """Refuse empty text, which would be the folder of the configuration file."""
    if path == "":
        raise InvalidValue("should be a path")
    return path


def _absolute(path: Path, info: ValidationInfo) -> Path:
    return Context.of(info).folder.absolute() / path


def _none_if_empty(path: Any) -> Any:
    return None if path == "" else path


def _optional_absolute(path: Path | None, info: ValidationInfo) -> Path | None:
    return path and _absolute(path, info)


FolderPath = Annotated[Path, BeforeValidator(_named), AfterValidator(_absolute), Form("path")]
"""A path relative to the configuration file's folder; always absolute after validation."""

OptionalPath = Annotated[
    Path | None, BeforeValidator(_none_if_empty), AfterValidator(_optional_absolute), Form("path")
]
"""An optional path; empty text is None."""
