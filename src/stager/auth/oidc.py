"""Knows people by their accounts at an OpenID provider, where they sign in. A claim may give them a role.

What the provider said at a sign-in is believed for a limited time, because it isn't asked again. What it
doesn't say for certain counts as no.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from stager.auth.openid.provider import Client, Clock, Provider, is_safe
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.oauth import SECONDS
from stager.ports.handlers import AuthenticationStrategy, Credentials
from stager.ports.login import AuthorizationRequest, Identity, SignIn

NAME = "oidc"
CALLBACK = f"/login/{NAME}/callback"
USUAL_NAME, SUBJECT = "preferred_username", "sub"
EMAIL, VERIFIED = "email", "email_verified"
LONGEST_NAME = 200


class OpenIDConnectAuthentication(AuthenticationStrategy):
    """People's accounts at an OpenID provider, such as Keycloak, Entra ID or Okta: they sign in there, and a
    claim may give them a role.

    It takes no credentials with a request: programs use tokens of Stager's own.
    """

    name = "OpenIDConnectAuthentication"
    short_name = NAME
    section = NAME

    class Settings(BaseModel):
        """Where people sign in, and who of them may do what."""

        model_config = ConfigDict(use_attribute_docstrings=True)

        issuer: str
        """The provider's address, exactly as it says it itself, such as `https://id.example.org/realms/acme`.
        Without encryption only on this machine."""

        client_id: str = Field(min_length=1)
        """Stager's id there."""

        client_secret: SecretStr = Field(min_length=1)
        """Stager's secret there."""

        title: str = Field("OpenID Connect", min_length=1, max_length=60)
        """What the provider is called on the page for signing in."""

        scopes: tuple[str, ...] = ("openid", "profile", "email")
        """What is asked for, besides `openid`, which alone is if it is empty; some providers tell groups only
        if they are asked for them."""

        username_claim: str = ""
        """The claim that names people; without, `preferred_username`, or `sub` for whom it isn't given. It
        should be one that people can't change, and that nobody else gets later on. `email` counts only where
        `email_verified` is true."""

        roles_claim: str = ""
        """The claim with people's groups or roles, such as `groups`; `realm_access.roles` is the one within
        the other."""

        roles: dict[str, Literal["none", "viewer", "developer", "administrator"]] = Field(
            default_factory=dict
        )
        """The role that each value of `roles_claim` gives, for all applications; of several, the greatest.
        Who has none of them has no role, unless `roles` at the top names them."""

        signed_in_hours: float = Field(24.0, gt=0, le=24 * 30)
        """How many hours a sign-in holds, and with it the role that it gave. So long can somebody go on who
        has left."""

        @field_validator("issuer")
        @classmethod
        def _is_an_address(cls, issuer: str) -> str:
            if not is_safe(issuer) or "?" in issuer:
                raise ValueError("should begin with https:// (on this machine, http://) and have no query")
            return issuer

        @field_validator("scopes")
        @classmethod
        def _with_openid(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(dict.fromkeys(("openid", *scopes)))

        @model_validator(mode="after")
        def _roles_by_a_claim(self) -> Self:
            if bool(self.roles) != bool(self.roles_claim):
                raise ValueError("`roles_claim` and `roles` are only of use together")
            return self

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._place = OpenIDSignIn(settings)

    async def authenticate(self, credentials: Credentials) -> Actor | None:  # noqa: ARG002
        """Nobody: who signed in has a session, and programs have tokens of ours."""
        return None

    async def role(self, actor: Actor, application: str, owner: str) -> Role:  # noqa: ARG002
        """By what the provider said at the sign-in, as long as that is believed; the same for all
        applications."""
        return self._place.role(actor.proof)

    def sign_in(self) -> SignIn | None:
        return self._place

    def signed_in_for(self) -> float | None:
        return self._settings.signed_in_hours * 3600


class OpenIDSignIn:
    """A `stager.ports.login.SignIn`, and what was said there of people."""

    name = NAME
    is_ready = True
    redirect_path = CALLBACK

    def __init__(
        self,
        settings: OpenIDConnectAuthentication.Settings,
        clock: Clock = time.time,
        seconds: float = SECONDS,
    ) -> None:
        self.title = settings.title
        self._settings = settings
        self._roles = {value: Role.named(role) for value, role in settings.roles.items()}
        self._clock = clock
        client = Client(
            settings.client_id, settings.client_secret.get_secret_value(), " ".join(settings.scopes)
        )
        self._provider = Provider(settings.issuer, client, settings.title, clock, seconds)

    async def address(self, asked: AuthorizationRequest) -> str:
        return await self._provider.address(asked)

    async def exchange(self, code: str, asked: AuthorizationRequest) -> Identity:
        claims = await self._provider.claims(code, asked, self._are_enough)
        word = Word(tuple(self._groups(claims)), self._clock())
        return Identity(self._name(claims), word.as_proof())

    def role(self, proof: str) -> Role:
        """The role of whom the provider said this of."""
        word = Word.of(proof)
        if word is None or not 0 <= self._clock() - word.at < self._settings.signed_in_hours * 3600:
            return Role.NONE
        return max((self._roles.get(group, Role.NONE) for group in word.groups), default=Role.NONE)

    def _are_enough(self, claims: Mapping[str, Any]) -> bool:
        claim = self._settings.username_claim or USUAL_NAME
        wanted = [claim, self._settings.roles_claim, VERIFIED if claim == EMAIL else ""]
        return all(_found(claims, path) is not None for path in wanted if path)

    def _name(self, claims: Mapping[str, Any]) -> str:
        claim = self._settings.username_claim
        name = claims.get(claim) if claim else claims.get(USUAL_NAME) or claims[SUBJECT]
        if claim == EMAIL and claims.get(VERIFIED) is not True:
            raise _nobody(f"{self.title} doesn't say that the mail address is really theirs.")
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise _nobody(f"{self.title} gives no claim `{claim or USUAL_NAME}` by which to call them.")
        if not name.isprintable() or name != name.strip():
            raise _nobody(f"The claim `{claim or USUAL_NAME}` isn't a name.")
        return name

    def _groups(self, claims: Mapping[str, Any]) -> Iterator[str]:
        """The values of the claim that give a role. The others don't matter, and needn't be kept."""
        found = _found(claims, self._settings.roles_claim)
        listed = found if isinstance(found, list) else [found]
        return (value for value in self._roles if value in listed)


@dataclass(frozen=True, slots=True)
class Word:
    """What a provider said of somebody: which groups they are in, and when that was.

    It is what proves their role later on. Sealed with the session.
    """

    groups: tuple[str, ...]
    at: float

    def as_proof(self) -> str:
        return json.dumps([list(self.groups), self.at])

    @classmethod
    def of(cls, proof: str) -> Self | None:
        """None for what isn't one."""
        try:
            groups, at = json.loads(proof)
            return cls(tuple(map(str, groups)), float(at))
        except (ValueError, TypeError):
            return None


def _found(claims: Mapping[str, Any], path: str) -> object:
    """A claim by its name, or by a path of names; None where there is none."""
    if not path or path in claims:
        return claims.get(path)
    within: object = claims
    for name in path.split("."):
        within = within.get(name) if isinstance(within, dict) else None
    return within


def _nobody(why: str) -> Refused:
    return Refused("Nobody can be signed in by this account.", hint=why, reason="sign-in-failed", status=403)
