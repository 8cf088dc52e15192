"""The API about people: who asks, the tokens that they made, and what everybody did."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Self

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field, field_validator

from stager.control.identity.api_tokens import MAX_LIFETIME
from stager.domain.errors import Refused
from stager.domain.identity.accounts import AuditRecord, Token
from stager.domain.identity.roles import Action, Role
from stager.web.api.environments import ANSWERS
from stager.web.context import Control, Known, credentials_of

router = APIRouter(prefix="/api/v1", tags=["people"], responses=ANSWERS)

A_MONTH = int(timedelta(days=30).total_seconds())
MOST_LINES = 1_000

TokenId = Annotated[str, Path(description="The token's id.", max_length=64)]


class WhoView(BaseModel):
    """Who asks."""

    name: str
    by: str = Field(description="How we know.")
    role: str = Field(description="For the installation: `none`, `viewer`, `developer` or `administrator`.")
    apps: dict[str, str] = Field(description="The role for each application; without those that give none.")


class TokenView(BaseModel):
    """A personal access token. The token itself is only ever shown once."""

    id: str
    label: str
    role: str
    apps: list[str] | None = Field(description="The only applications that it is good for; null for all.")
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = Field(description="To the minute; null when it never was.")

    @classmethod
    def of(cls, token: Token) -> Self:
        """The view of this one."""
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
    """A token that was just made."""

    token: str = Field(description="The token. Nobody can look it up afterwards.")


class TokenBody(BaseModel):
    """What kind of token to make."""

    label: str = Field(description="What to call it.", min_length=1, max_length=100)
    role: str = Field("developer", description="The most that it lets anybody do.")
    apps: list[str] | None = Field(
        None, description="The only applications that it is good for; null for all.", max_length=1_000
    )
    expires_in: int = Field(
        A_MONTH, ge=60, le=int(MAX_LIFETIME.total_seconds()), description="Seconds that it is good for."
    )

    @field_validator("role")
    @classmethod
    def _is_one(cls, role: str) -> str:
        if Role.named(role) is Role.NONE:
            raise ValueError("a token that allows nothing is of no use")
        return role


class EntryView(BaseModel):
    """A line of the audit log."""

    seq: int = Field(description="Its number; grows.")
    at: datetime
    actor: str = Field(description="Who, and how we know.")
    address: str = Field(description="From where; empty where that isn't known.")
    action: str
    app: str
    subject: str = Field(description="What it was about.")
    result: str = Field(description="`done`, `refused` or `failed`.")
    detail: str = Field(
        description="The reason's slug where it wasn't done; and how often in a minute, where that was more"
        " than once."
    )

    @classmethod
    def of(cls, entry: AuditRecord) -> Self:
        """The view of this one."""
        return cls(**{name: getattr(entry, name) for name in cls.model_fields})


@router.get("/whoami")
async def whoami(control: Control, actor: Known) -> WhoView:
    """Who asks, and what they may do."""
    names = [application.name for application in control.applications]
    roles = {name: await control.identity.authorizer.role(actor, name) for name in names}
    return WhoView(
        name=actor.name,
        by=actor.by,
        role=str(await control.identity.authorizer.role(actor)),
        apps={name: str(role) for name, role in roles.items() if role},
    )


@router.delete("/session", status_code=204)
async def end_session(request: Request, control: Control, actor: Known) -> Response:
    """End the session that this request is known by, at once."""
    given = await credentials_of(request)
    session = await control.identity.sessions.find(given.session) or await control.identity.sessions.find(
        given.bearer
    )
    if session is None:
        raise Refused("There is no session to end.", reason="session-missing", status=404)
    await control.identity.sessions.end(actor, session.id)
    return Response(status_code=204)


@router.get("/tokens")
async def list_tokens(control: Control, actor: Known) -> list[TokenView]:
    """One's own tokens that are good still, oldest first."""
    return [TokenView.of(token) for token in await control.identity.tokens.of(actor)]


@router.post("/tokens", status_code=201)
async def make_token(control: Control, actor: Known, body: TokenBody, response: Response) -> NewTokenView:
    """Make a token, which never gives more than its owner has at the time of its use."""
    good_for = timedelta(seconds=body.expires_in)
    token, secret = await control.identity.tokens.create(
        actor, body.label, Role.named(body.role), body.apps, good_for
    )
    response.headers["Cache-Control"] = "no-store"
    return NewTokenView(**TokenView.of(token).model_dump(), token=secret)


@router.delete("/tokens/{token}", status_code=204)
async def revoke_token(control: Control, actor: Known, token: TokenId) -> None:
    """Take a token back, at once: one's own, and an administrator anybody's."""
    of_anyone = await control.identity.authorizer.role(actor) is Role.ADMINISTRATOR
    await control.identity.tokens.revoke(actor, token, of_anyone=of_anyone)


@router.get("/audit")
async def read_audit(
    control: Control,
    actor: Known,
    limit: Annotated[int, Query(ge=1, le=MOST_LINES, description="How many lines.")] = 100,
    before: Annotated[
        int | None, Query(ge=1, le=1 << 62, description="Only those with a smaller `seq`.")
    ] = None,
) -> list[EntryView]:
    """Who did what, newest first. For administrators."""
    await control.identity.authorizer.check(actor, Action.READ_AUDIT)
    return [EntryView.of(entry) for entry in await control.identity.audit.entries(limit=limit, before=before)]
