"""The configuration in force as YAML, and the JSON Schema for editors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from stager.ports.plugins import PluginRegistry
from stager.settings.descriptions import descriptions
from stager.settings.loading.problems import bare
from stager.settings.model import Settings
from stager.settings.plugins.available import built_in
from stager.settings.plugins.sections import model_for
from stager.settings.repository_file import RepositoryFile
from stager.settings.values.network import Address, PortRange
from stager.settings.values.section import Section

REFERENCE: JsonSchemaValue = {"type": "string", "pattern": r"^file:|\$\{"}
"""A reference to a variable or a file, allowed in place of any value."""


def to_yaml(settings: Settings) -> str:
    """Return all settings in force, including defaults, with secrets masked.

    The values in `container_create_params` aren't masked.
    """
    in_force = settings.model_dump(mode="json", exclude_none=True)  # `build:` without a value means to build
    return yaml.safe_dump(in_force, sort_keys=False, allow_unicode=True)


def repository_schema() -> dict[str, Any]:
    """Return the JSON Schema of the repository file, `.stager.yml`."""
    return _titled(_described(RepositoryFile, GenerateJsonSchema), "Stager's repository file")


def json_schema(plugins: PluginRegistry | None = None) -> dict[str, Any]:
    """Return the JSON Schema of `config.yml`, for completion and validation in editors.

    Args:
        plugins: the classes whose settings it includes; by default the built-in ones.
    """
    model = model_for(plugins or built_in())
    return _titled(_described(model, _Schema), "Stager's configuration")


def _described(model: type[Section], generator: type[GenerateJsonSchema]) -> dict[str, Any]:
    """The schema with the descriptions of all sections."""
    schema = model.model_json_schema(schema_generator=generator)
    parts = {model.__name__: schema, **schema.get("$defs", {})}
    for section in _sections(model):
        for name, text in descriptions(section).items():
            if (part := parts.get(section.__name__)) and name in part.get("properties", {}):
                part["properties"][name].setdefault("description", text)
    return schema


def _sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and all models within it."""
    yield model
    for field in model.model_fields.values():
        annotation = bare(field.annotation)
        inner = bare(get_args(annotation)[1]) if get_origin(annotation) is dict else annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _sections(inner)


def _titled(schema: dict[str, Any], title: str) -> dict[str, Any]:
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": title}


class _Schema(GenerateJsonSchema):
    """Allows a reference to a variable or a file in place of a number, a boolean or an enumerated word."""

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        return {"anyOf": [super().int_schema(schema), REFERENCE]}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"anyOf": [super().float_schema(schema), REFERENCE]}

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchemaValue:
        return {"anyOf": [super().bool_schema(schema), REFERENCE]}

    def encode_default(self, dft: Any) -> Any:
        return str(dft) if isinstance(dft, Address | PortRange) else super().encode_default(dft)

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {"anyOf": [super().literal_schema(schema), REFERENCE]}
