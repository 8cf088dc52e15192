"""The configuration in force as YAML, and the JSON Schema for editors."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from stager.ports.plugins import PluginRegistry
from stager.settings.model import Settings
from stager.settings.plugins.available import built_in
from stager.settings.plugins.sections import model_for
from stager.settings.repository_file import RepositoryFile
from stager.settings.values.network import Address, PortRange

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
    return _titled(RepositoryFile.model_json_schema(), "Stager's repository file")


def json_schema(plugins: PluginRegistry | None = None) -> dict[str, Any]:
    """Return the JSON Schema of `config.yml`, for completion and validation in editors.

    Args:
        plugins: the classes whose settings it includes; by default the built-in ones.
    """
    model = model_for(plugins or built_in())
    return _titled(model.model_json_schema(schema_generator=_Schema), "Stager's configuration")


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
