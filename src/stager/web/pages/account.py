"""The account page: the user's roles, sessions and API tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from stager.control.control_plane import ControlPlane
from stager.domain.errors import Refused, StagerError
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action, Role
from stager.web.auth import cookies
from stager.web.context import Control, Known
from stager.web.pages.frame import frame_of
from stager.web.pages.rendering import SECURITY, render
from stager.web.pages.sign_in import check_origin
from stager.web.problems import status_of
from stager.web.request_body import form_of

router = APIRouter(include_in_schema=False)

PATH = "/account"
MAX_APPLICATIONS = 50
Id = Annotated[str, Path(max_length=64)]


@router.get(PATH)
async def account(request: Request, control: Control, actor: Known) -> Response:
    """Show the account page."""
    return await _page(request, control, actor)


@router.post(PATH + "/sessions/{session}/end")
async def end_session(request: Request, control: Control, actor: Known, session: Id) -> Response:
    """End a session."""
    check_origin(request)
    await control.identity.sessions.end(actor, session)
    return RedirectResponse(PATH, 303, headers=SECURITY)


@router.post(PATH + "/sessions/end")
async def end_sessions(request: Request, control: Control, actor: Known) -> Response:
    """End all sessions."""
    check_origin(request)
    await control.identity.sessions.end_all(actor)
    response = RedirectResponse("/", 303, headers=SECURITY)
    cookies.delete_cookie(response, cookies.SESSION, secure=control.routing.urls.is_https)
    return response


class TokenForm(BaseModel):
    """The form for a new token."""

    label: str = Field("", max_length=100)
    role: str = Field("developer", max_length=20)
    days: int = Field(30, ge=1, le=366)
    app: str = Field("", max_length=100)


@router.post(PATH + "/tokens")
async def create_token(request: Request, control: Control, actor: Known) -> Response:
    """Create a token and show it once."""
    check_origin(request)
    form = await form_of(request, TokenForm)
    try:
        secret = await _create(control, actor, form)
    except StagerError as error:
        return await _page(request, control, actor, error=error)
    return await _page(request, control, actor, secret=secret)


@router.post(PATH + "/tokens/{token}/revoke")
async def revoke_token(request: Request, control: Control, actor: Known, token: Id) -> Response:
    """Revoke a token."""
    check_origin(request)
    await control.identity.tokens.revoke(actor, token)
    return RedirectResponse(PATH, 303, headers=SECURITY)


async def _create(control: ControlPlane, actor: Actor, form: TokenForm) -> str:
    label = form.label.strip()
    if not label:
        raise Refused(
            "The token has no name.", hint="Enter what it is used for, such as `CI`.", reason="token-label"
        )
    apps = [await _visible_app(control, actor, form.app)] if form.app else None
    _, secret = await control.identity.tokens.create(
        actor, label, _role(form.role), apps, timedelta(days=form.days)
    )
    return secret


async def _visible_app(control: ControlPlane, actor: Actor, app: str) -> str:
    """Return the name of an application. Raises `Refused` (404) unless the user may see it."""
    if control.applications.find(app) is None or not await control.identity.authorizer.may(
        actor, Action.SEE, app
    ):
        raise Refused("There is no application of this name.", reason="image-unknown", status=404)
    return app


def _role(name: str) -> Role:
    try:
        return Role.named(name)
    except ValueError as error:
        raise Refused(f"Unknown role: {error}.", reason="role-unknown") from None


async def _page(
    request: Request,
    control: ControlPlane,
    actor: Actor,
    *,
    secret: str = "",
    error: StagerError | None = None,
) -> HTMLResponse:
    here = await control.identity.sessions.find(
        cookies.read(request, cookies.SESSION, secure=control.routing.urls.is_https)
    )
    known = [application.name for application in control.applications]
    roles = [(name, role) for name in known if (role := await control.identity.authorizer.role(actor, name))]
    roles = roles[:MAX_APPLICATIONS]
    return render(
        "account.html",
        frame=await frame_of(control, actor, "account"),
        status=status_of(error) if error else 200,
        actor=actor,
        everywhere=await control.identity.authorizer.role(actor),
        roles=roles,
        sessions=list(reversed(await control.identity.sessions.of(actor))) if actor.strategy else [],
        here=here.id if here else "",
        tokens=list(reversed(await control.identity.tokens.of(actor))) if actor.strategy else [],
        names=[name for name, _ in roles],
        secret=secret,
        error=error,
    )
