"""The settings of who may do what."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, PlainValidator

from stager.domain.access import Role
from stager.settings.refusals import refuse
from stager.settings.values import Form


def _role(value: Any) -> Role:
    if isinstance(value, Role):
        return value
    if not isinstance(value, str):
        raise ValueError("should be a role: viewer, developer, or administrator")  # noqa: TRY004 (pydantic's way)
    return Role.named(value)


def _of_strategies(roles: dict[str, Role]) -> dict[str, Role]:
    """A name alone would be anybody's whom some strategy calls so."""
    bare = [name for name in roles if not all(name.partition(":")[::2])]
    if bare:
        refuse(*(((name,), f"should name the strategy, too, such as `github:{name}`") for name in bare))
    return {name.lower(): role for name, role in roles.items()}


RoleName = Annotated[
    Role,
    PlainValidator(_role, json_schema_input_type=str),
    PlainSerializer(str),
    Form("none, viewer, developer, or administrator"),
]

People = Annotated[
    dict[str, RoleName], AfterValidator(_of_strategies), Form("mapping of `strategy:name` to roles")
]
