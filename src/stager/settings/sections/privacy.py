"""Who may see an application's previews."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, model_validator

from stager.domain.identity.access_policy import Privacy, Way
from stager.domain.identity.roles import Role
from stager.settings.loading.refusals import Unfit, refuse
from stager.settings.sections.identity import RoleName
from stager.settings.values.scalars import POSITIVE, Duration, one_or_many
from stager.settings.values.secret import Secret
from stager.settings.values.section import Section

SHORTEST_TOKEN = 20
"""Characters. Nobody guesses a random one of this length, however fast."""
LONGEST_STAY = 400 * 86_400.0
"""Browsers keep no cookie for longer (RFC 6265bis, section 5.5)."""

AskedWay = Literal["sign-in", "password", "link"]


def _is_long(token: Secret) -> Secret:
    if token and len(token.reveal()) < SHORTEST_TOKEN:
        raise Unfit(f"should have {SHORTEST_TOKEN} characters at least, such as `openssl rand -hex 16` gives")
    return token


def _has_some(ways: tuple[AskedWay, ...]) -> tuple[AskedWay, ...]:
    if not ways:
        raise Unfit(f"should name a way in: {', '.join(get_args(AskedWay))}; leave it out for the usual one")
    return ways


def _is_given(password: Secret) -> Secret:
    # An empty variable would have it fall back to signing in.
    if not password:
        raise Unfit("should be a password; leave it out if there is none")
    return password


def _is_bounded(seconds: float) -> float:
    if not 60 <= seconds <= LONGEST_STAY:
        raise Unfit('should be between "1m" and "400d"')
    return seconds


class Private(Section):
    """Who may see previews. A word or a list counts as its `ways`, `true` as signing in."""

    stranger: ClassVar = "the ways in are sign-in, password and link"

    ways: Annotated[
        tuple[AskedWay, ...],
        BeforeValidator(one_or_many, json_schema_input_type=AskedWay | list[AskedWay]),
        AfterValidator(_has_some),
    ] = ()
    """In which ways people get in, one of which is enough: `sign-in` for those who may see the application at
    Stager, `password` for whoever knows that, and `link` for whoever was sent a share link. If it isn't
    given: `password` where there is one, else `sign-in`."""

    password: Annotated[Secret, AfterValidator(_is_given)] = Secret()
    """The password for the way of this name, best as `${VARIABLE}` or `file:path`."""

    bypass_token: Annotated[Secret, AfterValidator(_is_long)] = Secret()
    """Lets automated tests in: whoever sends it in the header `X-Stager-Bypass`, with any method and
    WebSockets too, or opens a URL with `stager_bypass=TOKEN` in its query. 20 characters at least."""

    viewers: RoleName = Role.VIEWER
    """The least role for this application of those who come in by signing in."""

    stay: Annotated[Duration, POSITIVE, AfterValidator(_is_bounded)] = 43_200.0
    """How long somebody who was let in stays so, before they are asked again. With a share link that is as
    long as the link lasts."""

    @model_validator(mode="after")
    def _fits_together(self) -> Private:
        if "password" in self.ways and not self.password:
            refuse((("password",), "is required, because `ways` has `password`"))
        if self.viewers is Role.NONE:
            refuse((("viewers",), "should be a role that somebody has: viewer, developer or administrator"))
        if self.password and self.ways and "password" not in self.ways:
            refuse((("password",), "has no effect, because `ways` lacks `password`"))
        return self

    @property
    def privacy(self) -> Privacy:
        """The privacy as control takes it."""
        asked: tuple[Way, ...] = self.ways or ("password" if self.password else "sign-in",)
        ways: set[Way] = {*asked, *(("bypass",) if self.bypass_token else ())}
        return Privacy(
            ways=frozenset(ways),
            viewers=self.viewers,
            password=self.password.reveal(),
            bypass_token=self.bypass_token.reveal(),
            stay=int(self.stay),
        )


def _as_ways(data: Any) -> Any:
    if isinstance(data, bool):
        return {} if data else None
    return {"ways": data} if isinstance(data, str | list) else data


OptionalPrivate = Annotated[
    Private | None,
    BeforeValidator(_as_ways, json_schema_input_type=Private | AskedWay | list[AskedWay] | bool | None),
]
