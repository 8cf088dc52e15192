"""What a value's meaning may depend on besides itself, and the forms of value that depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from stager.settings.loading.refusals import Unfit
from stager.settings.plugins.available import Kind, Known
from stager.settings.values.scalars import Form


@dataclass(frozen=True, slots=True)
class Context:
    """Where and for whom a configuration is read; handed to pydantic as its validation context.

    Args:
        folder: what relative paths start from: the configuration file's own folder.
        environ: the environment variables.
        known: the names of pluggable classes.
    """

    folder: Path = field(default_factory=Path.cwd)
    environ: Mapping[str, str] = field(default_factory=dict)
    known: Known = field(default_factory=Known)

    @classmethod
    def of(cls, info: ValidationInfo) -> Context:
        """The context of this validation; a neutral one where a model is made by hand."""
        return info.context if isinstance(info.context, cls) else cls()


@dataclass(frozen=True, slots=True)
class NameOf:
    """Marks a text as the name of a pluggable class; short forms become the full name."""

    kind: Kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._full_name, handler(source))

    def _full_name(self, name: str, info: ValidationInfo) -> str:
        return Context.of(info).known.full_name(self.kind, name)


def _named(path: Any) -> Any:
    """Empty text would be the configuration file's own folder, which is never what is meant."""
    if path == "":
        raise Unfit("should be a path")
    return path


def _from_folder(path: Path, info: ValidationInfo) -> Path:
    return Context.of(info).folder.absolute() / path


def _none_if_empty(path: Any) -> Any:
    return None if path == "" else path


def _from_folder_if_any(path: Path | None, info: ValidationInfo) -> Path | None:
    return path and _from_folder(path, info)


FolderPath = Annotated[Path, BeforeValidator(_named), AfterValidator(_from_folder), Form("path")]
"""A path that starts from the configuration file's folder; always absolute once read."""

OptionalPath = Annotated[
    Path | None, BeforeValidator(_none_if_empty), AfterValidator(_from_folder_if_any), Form("path")
]
"""The same where there may be none; empty text is none."""
