"""The API for the signed-in user, API tokens and the audit log."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Self

from fastapi import Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field, field_validator

from stager.control.identity.api_tokens import MAX_LIFETIME
from stager.domain.errors import Refused
from stager.domain.identity.accounts import AuditFilter, AuditRecord, Token
from stager.domain.identity.roles import Action, Role
from stager.ports.accounts import EVERY
from stager.web.api.router import api_router
from stager.web.context import Control, Known, credentials_of

router = api_router("people")

DEFAULT_LIFETIME = int(timedelta(days=30).total_seconds())
MAX_RECORDS = 1_000

TokenId = Annotated[str, Path(description="The token's id.", max_length=64)]


class WhoView(BaseModel):
    """The signed-in user."""

    name: str
    authenticated_by: str = Field(description="The authentication strategy, and the token if one was used.")
    role: str = Field(
        description="The role for the installation: `none`, `viewer`, `developer` or `administrator`."
    )
    apps: dict[str, str] = Field(
        description="The roles by application, without those in which the role is `none`."
    )


class TokenView(BaseModel):
    """An API token, without its secret."""

    id: str
    label: str
    role: str
    apps: list[str] | None = Field(description="The applications that it is limited to; null for all.")
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = Field(description="The time of last use, to the minute; null if unused.")

    @classmethod
    def of(cls, token: Token) -> Self:
        """Return the view of a token."""
        return cls(
            id=token.id,
            label=token.label,
            role=str(token.role),
            apps=None if token.apps is None else sorted(token.apps),
            created_at=token.created_at,
            expires_at=token.expires_at,
            used_at=token.used_at,
        )


class NewTokenView(TokenView):
    """A new token, with its secret."""

    token: str = Field(description="The token's secret. It can't be retrieved later.")


class TokenBody(BaseModel):
    """The token to create."""

    label: str = Field(description="A name.", min_length=1, max_length=100)
    role: str = Field("developer", description="The maximum role.")
    apps: list[str] | None = Field(
        None, description="The applications that it is limited to; null for all.", max_length=1_000
    )
    expires_in: int = Field(
        DEFAULT_LIFETIME, ge=60, le=int(MAX_LIFETIME.total_seconds()), description="Lifetime in seconds."
    )

    @field_validator("role")
    @classmethod
    def _is_one(cls, role: str) -> str:
        if Role.named(role) is Role.NONE:
            raise ValueError("a token needs a role other than none")
        return role


class AuditRecordView(BaseModel):
    """A record of the audit log."""

    seq: int = Field(description="Sequence number, increasing.")
    at: datetime
    actor: str = Field(description="The user and the authentication strategy.")
    address: str = Field(description="The client's address; may be empty.")
    action: str
    app: str
    subject: str = Field(description="What the action was applied to.")
    result: str = Field(description="`done`, `refused` or `failed`.")
    detail: str = Field(
        description="The reason slug if the result isn't `done`; with the number of requests in a minute"
        " if there were several."
    )

    @classmethod
    def of(cls, entry: AuditRecord) -> Self:
        """Return the view of a record."""
        return cls(**{name: getattr(entry, name) for name in cls.model_fields})


@router.get("/whoami")
async def whoami(control: Control, actor: Known) -> WhoView:
    """Get the signed-in user and their roles."""
    names = [application.name for application in control.applications]
    roles = {name: await control.identity.authorizer.role(actor, name) for name in names}
    return WhoView(
        name=actor.name,
        authenticated_by=actor.by,
        role=str(await control.identity.authorizer.role(actor)),
        apps={name: str(role) for name, role in roles.items() if role},
    )


@router.delete("/session", status_code=204)
async def end_session(request: Request, control: Control, actor: Known) -> Response:
    """End the session of this request immediately."""
    credentials = await credentials_of(request)
    session = await control.identity.sessions.find(
        credentials.session
    ) or await control.identity.sessions.find(credentials.bearer)
    if session is None:
        raise Refused("This request has no session.", reason="session-missing", status=404)
    await control.identity.sessions.end(actor, session.id)
    return Response(status_code=204)


@router.get("/tokens")
async def list_tokens(control: Control, actor: Known) -> list[TokenView]:
    """List the user's valid tokens, oldest first."""
    return [TokenView.of(token) for token in await control.identity.tokens.of(actor)]


@router.post("/tokens", status_code=201)
async def create_token(control: Control, actor: Known, body: TokenBody, response: Response) -> NewTokenView:
    """Create a token. It never has more permissions than its owner has at the time of use."""
    lifetime = timedelta(seconds=body.expires_in)
    token, secret = await control.identity.tokens.create(
        actor, body.label, Role.named(body.role), body.apps, lifetime
    )
    response.headers["Cache-Control"] = "no-store"
    return NewTokenView(**TokenView.of(token).model_dump(), token=secret)


@router.delete("/tokens/{token}", status_code=204)
async def revoke_token(control: Control, actor: Known, token: TokenId) -> None:
    """Revoke a token immediately. Administrators can revoke any token, others only their own."""
    of_anyone = await control.identity.authorizer.role(actor) is Role.ADMINISTRATOR
    await control.identity.tokens.revoke(actor, token, of_anyone=of_anyone)


async def audit_filter(
    q: Annotated[str, Query(description="Only records that contain this text.", max_length=200)] = "",
    action: Annotated[str, Query(description="Only records of this action.", max_length=100)] = "",
    app: Annotated[str, Query(description="Only records of this application.", max_length=100)] = "",
    result: Annotated[str, Query(description="Only records with this result.", max_length=20)] = "",
) -> AuditFilter:
    """The filter of the audit log in a request's query."""
    return AuditFilter(q.strip(), action, app, result)


@router.get("/audit")
async def read_audit(
    control: Control,
    actor: Known,
    limit: Annotated[int, Query(ge=1, le=MAX_RECORDS, description="Maximum number of records.")] = 100,
    before: Annotated[
        int | None, Query(ge=1, le=1 << 62, description="Only records with a smaller `seq`.")
    ] = None,
    only: Annotated[AuditFilter, Depends(audit_filter)] = EVERY,
) -> list[AuditRecordView]:
    """List the audit log, newest first. For administrators."""
    await control.identity.authorizer.check(actor, Action.READ_AUDIT)
    return [
        AuditRecordView.of(entry)
        for entry in await control.identity.audit.entries(limit=limit, before=before, only=only)
    ]
