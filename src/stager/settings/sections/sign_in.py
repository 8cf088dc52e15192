"""How users sign in, and which roles they have."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, field_validator

from stager.domain.identity.roles import Role
from stager.settings.loading.context import NameOf
from stager.settings.loading.refusals import refuse
from stager.settings.values.scalars import ONE_OR_MANY, POSITIVE, Duration, Form, Login, User
from stager.settings.values.section import Section, Task


def _role(value: Any) -> Role:
    if isinstance(value, Role):
        return value
    if not isinstance(value, str):
        raise ValueError("should be a role: viewer, developer, or administrator")  # noqa: TRY004 (pydantic's way)
    return Role.named(value)


def _with_strategies(roles: dict[str, Role]) -> dict[str, Role]:
    """Refuse names without a strategy: several strategies may know users of the same name."""
    bare = [name for name in roles if not all(name.partition(":")[::2])]
    if bare:
        refuse(*(((name,), f"should include the strategy, such as `github:{name}`") for name in bare))
    return {name.lower(): role for name, role in roles.items()}


RoleName = Annotated[
    Role,
    PlainValidator(_role, json_schema_input_type=str),
    PlainSerializer(str),
    Form("none, viewer, developer, or administrator"),
]

People = Annotated[
    dict[str, RoleName], AfterValidator(_with_strategies), Form("mapping of `strategy:name` to roles")
]


class Sessions(Section):
    """How long sessions last."""

    idle_timeout: Annotated[Duration, POSITIVE] = 12 * 3600.0
    """Time without a request after which a browser's session ends."""

    max_age: Annotated[Duration, POSITIVE] = 7 * 86_400.0
    """Time after which a browser's session ends in any case."""

    rotation_interval: Annotated[Duration, POSITIVE] = 900.0
    """Interval at which the secret in a browser's session cookie is replaced."""

    cli_max_age: Annotated[Duration, POSITIVE] = 30 * 86_400.0
    """Time after which a session of the command line ends."""


class SignIn(Task):
    """Each request to Stager itself is authenticated by one of the configured strategies; otherwise it is
    rejected. The strategy or `roles` determines the user's role."""

    title: ClassVar = "Sign-in and roles"
    example: ClassVar = """\
authentication_strategy:
  - BasicAuthentication
  - GithubAuthentication
  - OpenIDConnectAuthentication
users:
  - ci:${CI_PASSWORD}
roles:
  github:ann: administrator
  basic:ci: developer
sessions:
  idle_timeout: 8h
github:
  client_id: Iv1.0123456789abcdef
  client_secret: ${GITHUB_CLIENT_SECRET}
oidc:
  issuer: https://id.example.org
  client_id: stager
  client_secret: ${OIDC_CLIENT_SECRET}
  roles_claim: groups
  roles: {engineers: developer}
event_listeners: [GithubAuthorization, OpenIDConnectAuthorization]
"""

    authentication_strategy: Annotated[
        tuple[Annotated[str, NameOf("authentication_strategy")], ...],
        ONE_OR_MANY,
    ] = ()
    """Authentication strategies: `BasicAuthentication` (short: `basic`), `GithubAuthentication` (`github`),
    `OpenIDConnectAuthentication` (`oidc`). If empty, every request to Stager is rejected."""

    users: Annotated[tuple[Login, ...], Field(examples=['["ann:${STAGER_PASSWORD}"]'])] = ()
    """Users of `BasicAuthentication`, each as `name:password`. The password may be a hash made by
    `stager hash-password`."""

    roles: People = Field(default_factory=dict)
    """Roles by `strategy:name`, such as `github:ann: administrator`; a role is `none`, `viewer`, `developer`
    or `administrator`. Users who aren't listed get the strategy's role: `administrator` with
    `BasicAuthentication`, by their permission in the repository with `GithubAuthentication`, by their groups
    with `OpenIDConnectAuthentication`."""

    sessions: Sessions = Sessions()
    """How long sessions last."""

    @field_validator("users")
    @classmethod
    def _distinct_names(cls, users: tuple[User, ...]) -> tuple[User, ...]:
        names = [user.name for user in users]
        twice = [i for i, name in enumerate(names) if name in names[:i]]
        if twice:
            refuse(*(((i,), "has the name of an earlier user") for i in twice))
        return users
