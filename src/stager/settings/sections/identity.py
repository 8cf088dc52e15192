"""The settings of who may do what, and of how long they are signed in."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, PlainValidator

from stager.domain.identity.roles import Role
from stager.settings.loading.refusals import refuse
from stager.settings.values.scalars import POSITIVE, Duration, Form
from stager.settings.values.section import Section


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


class Sessions(Section):
    """How long whoever signs in stays signed in."""

    idle: Annotated[Duration, POSITIVE] = 12 * 3600.0
    """In a browser, without a request."""

    longest: Annotated[Duration, POSITIVE] = 7 * 86_400.0
    """In a browser, whatever happens."""

    renew_every: Annotated[Duration, POSITIVE] = 900.0
    """How often the secret in a browser's cookie is replaced while it is used."""

    command_line: Annotated[Duration, POSITIVE] = 30 * 86_400.0
    """In a command line."""
