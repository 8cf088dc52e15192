"""Who may see an application's previews."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, model_validator

from stager.domain.identity.access_policy import Privacy, Way
from stager.domain.identity.roles import Role
from stager.settings.loading.refusals import InvalidValue, refuse
from stager.settings.sections.sign_in import RoleName
from stager.settings.values.scalars import POSITIVE, Duration, one_or_many
from stager.settings.values.secret import Secret
from stager.settings.values.section import Section, Task

MIN_TOKEN_LENGTH = 20
"""Characters. A random token of this length can't be guessed."""
MAX_COOKIE_AGE = 400 * 86_400.0
"""Seconds. Browsers keep no cookie for longer (RFC 6265bis, section 5.5)."""

Method = Literal["sign-in", "password", "link"]


def _is_long(token: Secret) -> Secret:
    if token and len(token.reveal()) < MIN_TOKEN_LENGTH:
        raise InvalidValue(
            f"should have at least {MIN_TOKEN_LENGTH} characters, for example from `openssl rand -hex 16`"
        )
    return token


def _has_some(methods: tuple[Method, ...]) -> tuple[Method, ...]:
    if not methods:
        raise InvalidValue(
            f"should name a method: {', '.join(get_args(Method))}; remove the key for the default"
        )
    return methods


def _is_given(password: Secret) -> Secret:
    # With an empty variable, access would silently fall back to signing in.
    if not password:
        raise InvalidValue("should be a password; remove the key if there is none")
    return password


def _is_bounded(seconds: float) -> float:
    if not 60 <= seconds <= MAX_COOKIE_AGE:
        raise InvalidValue('should be between "1m" and "400d"')
    return seconds


class Private(Section):
    """How visitors of a preview identify themselves. A word or a list is the value of `methods`; `true` means
    `sign-in`."""

    unknown_key_hint: ClassVar = "the methods are sign-in, password and link"

    methods: Annotated[
        tuple[Method, ...],
        BeforeValidator(one_or_many, json_schema_input_type=Method | list[Method]),
        AfterValidator(_has_some),
    ] = ()
    """Access methods, any of which suffices. `sign-in`: users with a role for the application; `password`:
    anybody with the password; `link`: anybody with a share link. Default: `password` if `password` is set,
    else `sign-in`."""

    password: Annotated[Secret, AfterValidator(_is_given)] = Secret()
    """Password for the method `password`, preferably `${VARIABLE}` or `file:path`."""

    bypass_token: Annotated[Secret, AfterValidator(_is_long)] = Secret()
    """Token for automated tests, sent in the header `X-Stager-Bypass` (any method, WebSockets too) or as
    `stager_bypass=TOKEN` in the query of a URL. At least 20 characters."""

    min_role: RoleName = Role.VIEWER
    """Minimum role for the application with the method `sign-in`."""

    max_age: Annotated[Duration, POSITIVE, AfterValidator(_is_bounded)] = 43_200.0
    """Time until a visitor has to identify again, from `1m` to `400d`. With a share link, until the link
    expires."""

    @model_validator(mode="after")
    def _fits_together(self) -> Private:
        if "password" in self.methods and not self.password:
            refuse((("password",), "is required, because `methods` has `password`"))
        if self.min_role is Role.NONE:
            refuse((("min_role",), "should be viewer, developer or administrator"))
        if self.password and self.methods and "password" not in self.methods:
            refuse((("password",), "has no effect, because `methods` lacks `password`"))
        return self

    @property
    def privacy(self) -> Privacy:
        """The access policy as a domain value."""
        methods: tuple[Way, ...] = self.methods or ("password" if self.password else "sign-in",)
        ways: set[Way] = {*methods, *(("bypass",) if self.bypass_token else ())}
        return Privacy(
            ways=frozenset(ways),
            viewers=self.min_role,
            password=self.password.reveal(),
            bypass_token=self.bypass_token.reveal(),
            stay=int(self.max_age),
        )


def _as_methods(data: Any) -> Any:
    if isinstance(data, bool):
        return {} if data else None
    return {"methods": data} if isinstance(data, str | list) else data


OptionalPrivate = Annotated[
    Private | None,
    BeforeValidator(_as_methods, json_schema_input_type=Private | Method | list[Method] | bool | None),
]


class PreviewAccess(Task):
    """Previews are public unless `private` is set, for all applications under `defaults` or for one under
    `images`. [Private previews](../how-to/private-previews.md) describes the methods."""

    title: ClassVar = "Who may see previews"
    nested: ClassVar[tuple[str, ...]] = ("private",)
    example: ClassVar = """\
public_list: true
defaults:
  private: sign-in           # for all applications
images:
  shop:
    port: 3000
  landing:
    port: 80
    private:
      methods: [sign-in, password]
      password: ${PREVIEW_PASSWORD}
      max_age: 7d
"""

    public_list: bool = False
    """Whether Stager's start page lists the public previews to everybody, with name, state and URL. Private
    previews aren't listed."""
