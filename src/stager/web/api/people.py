"""Everybody's roles, sessions and tokens, for administrators."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import Path, Query
from pydantic import BaseModel, Field

from stager.control.identity.people import Account
from stager.domain.identity.accounts import Session
from stager.web.api.identity import TokenView
from stager.web.api.router import api_router
from stager.web.context import Control, Known

router = api_router("people")


class SessionView(BaseModel):
    """A session of a browser or command line, without its secret."""

    id: str
    created_at: datetime
    expires_at: datetime
    address: str = Field(description="The client's address at the sign-in; may be empty.")
    agent: str = Field(description="The `User-Agent` of the sign-in.")

    @classmethod
    def of(cls, session: Session) -> Self:
        """Return the view of a session."""
        return cls(**{name: getattr(session, name) for name in cls.model_fields})


class PersonView(BaseModel):
    """A person with a session or a token."""

    name: str
    authenticated_by: str
    strategy: str
    role: str = Field(description="The role for the installation.")
    role_from: str = Field(description="`configuration`, or `strategy`.")
    apps: dict[str, str] | None = Field(description="Roles by application; null if the forge doesn't answer.")
    sessions: list[SessionView]
    tokens: list[TokenView]

    @classmethod
    def of(cls, account: Account) -> Self:
        """Return the view of an account."""
        roles = account.roles
        return cls(
            name=account.person.name,
            authenticated_by=account.person.by,
            strategy=account.person.strategy,
            role=str(account.role),
            role_from="configuration" if account.is_listed else "strategy",
            apps=None if roles is None else {name: str(role) for name, role in roles.items()},
            sessions=[SessionView.of(session) for session in account.sessions],
            tokens=[TokenView.of(token) for token in account.tokens],
        )


@router.get("/people")
async def list_people(control: Control, actor: Known) -> list[PersonView]:
    """List the people with a session or a token, by name. For administrators."""
    return [PersonView.of(account) for account in await control.identity.people.accounts(actor)]


@router.delete("/people/sessions", status_code=204)
async def end_sessions(
    control: Control,
    actor: Known,
    strategy: Annotated[str, Query(description="The person's `strategy`.", max_length=100)],
    name: Annotated[str, Query(description="The person's `name`.", max_length=300)],
) -> None:
    """End all sessions of a person immediately. For administrators."""
    await control.identity.people.end_sessions(actor, strategy, name)


@router.delete("/people/sessions/{session}", status_code=204)
async def end_one_session(
    control: Control,
    actor: Known,
    session: Annotated[str, Path(description="The session's id.", max_length=64)],
) -> None:
    """End anybody's session immediately. For administrators."""
    await control.identity.people.end_session(actor, session)
