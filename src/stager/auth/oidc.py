"""Authentication with accounts of an OpenID provider. A claim may give people a role.

Claims are valid for a limited time after a sign-in, because the provider isn't queried again. Missing claims
deny access.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from stager.auth.openid.provider import Clock, OAuthClient, Provider, is_safe
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
    """Accounts of an OpenID provider, such as Keycloak, Entra ID or Okta: people sign in there, and a claim
    may give them a role.

    It accepts no credentials with a request: programs use tokens that Stager issues.
    """

    name = "OpenIDConnectAuthentication"
    short_name = NAME
    section = NAME

    class Settings(BaseModel):
        """The provider, and the roles of its users."""

        issuer: str
        """The provider's issuer URL, exactly as in its metadata, such as `https://id.example.org/realms/acme`.
        `http://` is allowed on this machine only."""

        client_id: str = Field(min_length=1)
        """Stager's client id at the provider."""

        client_secret: SecretStr = Field(min_length=1)
        """Stager's client secret at the provider."""

        title: str = Field("OpenID Connect", min_length=1, max_length=60)
        """The provider's name on the sign-in page."""

        scopes: tuple[str, ...] = ("openid", "profile", "email")
        """The requested scopes; `openid` is always added, even if the list is empty. Some providers return
        groups only for a scope of their own."""

        username_claim: str = ""
        """The claim with the user name; by default `preferred_username`, or `sub` if that is missing. Use a
        claim that people can't change and that isn't reassigned. `email` is accepted only if
        `email_verified` is true."""

        roles_claim: str = ""
        """The claim with groups or roles, such as `groups`; `realm_access.roles` stands for a nested one."""

        roles: dict[str, Literal["none", "viewer", "developer", "administrator"]] = Field(
            default_factory=dict
        )
        """The role for each value of `roles_claim`, for all applications; of several, the highest. People
        without any of the values have no role, unless the top-level `roles` names them."""

        signed_in_hours: float = Field(24.0, gt=0, le=24 * 30)
        """Hours for which a sign-in and its role are valid. A removed account keeps access for that long."""

        @field_validator("issuer")
        @classmethod
        def _check_issuer(cls, issuer: str) -> str:
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
                raise ValueError("`roles_claim` and `roles` need each other: set both or neither")
            return self

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sign_in = OpenIDSignIn(settings)

    async def authenticate(self, credentials: Credentials) -> Actor | None:  # noqa: ARG002
        """None: people have a session after signing in, and programs have tokens that Stager issues."""
        return None

    async def role(self, actor: Actor, application: str, owner: str) -> Role:  # noqa: ARG002
        """The role by the claims of the sign-in, while they are valid; the same for all applications."""
        return self._sign_in.role(actor.proof)

    def sign_in(self) -> SignIn | None:
        return self._sign_in

    def signed_in_for(self) -> float | None:
        return self._settings.signed_in_hours * 3600


class OpenIDSignIn:
    """A `stager.ports.login.SignIn`, and the roles by its claims."""

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
        client = OAuthClient(
            settings.client_id, settings.client_secret.get_secret_value(), " ".join(settings.scopes)
        )
        self._provider = Provider(settings.issuer, client, settings.title, clock, seconds)

    async def address(self, request: AuthorizationRequest) -> str:
        return await self._provider.address(request)

    async def exchange(self, code: str, request: AuthorizationRequest) -> Identity:
        claims = await self._provider.claims(code, request, self._are_sufficient)
        group_claims = GroupClaims(tuple(self._groups(claims)), self._clock())
        return Identity(self._name(claims), group_claims.as_proof())

    def role(self, proof: str) -> Role:
        """The role for a proof of this sign-in."""
        group_claims = GroupClaims.of(proof)
        lifetime = self._settings.signed_in_hours * 3600
        if group_claims is None or not 0 <= self._clock() - group_claims.at < lifetime:
            return Role.NONE
        return max((self._roles.get(group, Role.NONE) for group in group_claims.groups), default=Role.NONE)

    def _are_sufficient(self, claims: Mapping[str, Any]) -> bool:
        claim = self._settings.username_claim or USUAL_NAME
        wanted = [claim, self._settings.roles_claim, VERIFIED if claim == EMAIL else ""]
        return all(_found(claims, path) is not None for path in wanted if path)

    def _name(self, claims: Mapping[str, Any]) -> str:
        claim = self._settings.username_claim
        name = claims.get(claim) if claim else claims.get(USUAL_NAME) or claims[SUBJECT]
        if claim == EMAIL and claims.get(VERIFIED) is not True:
            raise _refused(f"{self.title} hasn't verified the account's mail address.")
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise _refused(f"{self.title} returned no valid claim `{claim or USUAL_NAME}` with a user name.")
        if not name.isprintable() or name != name.strip():
            raise _refused(f"The claim `{claim or USUAL_NAME}` isn't a valid user name.")
        return name

    def _groups(self, claims: Mapping[str, Any]) -> Iterator[str]:
        """The values of the claim that give a role; others aren't stored."""
        found = _found(claims, self._settings.roles_claim)
        listed = found if isinstance(found, list) else [found]
        return (value for value in self._roles if value in listed)


@dataclass(frozen=True, slots=True)
class GroupClaims:
    """The groups of a person at the time of the sign-in, as proof of the role. Encrypted with the session."""

    groups: tuple[str, ...]
    at: float

    def as_proof(self) -> str:
        return json.dumps([list(self.groups), self.at])

    @classmethod
    def of(cls, proof: str) -> Self | None:
        """Parse a proof; None if it is invalid."""
        try:
            groups, at = json.loads(proof)
            return cls(tuple(map(str, groups)), float(at))
        except (ValueError, TypeError):
            return None


def _found(claims: Mapping[str, Any], path: str) -> object:
    """A claim by its name, or by a path of names; None for none."""
    if not path or path in claims:
        return claims.get(path)
    within: object = claims
    for name in path.split("."):
        within = within.get(name) if isinstance(within, dict) else None
    return within


def _refused(why: str) -> Refused:
    return Refused("This account can't be used to sign in.", hint=why, reason="sign-in-failed", status=403)
