"""Pages that connect GitHub: create a GitHub App from a manifest and store its credentials."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from stager.control.control_plane import ControlPlane
from stager.domain.errors import Refused, StagerError
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.ports.setup import AppSetup, Proposal
from stager.web.auth.oauth_state import LIFETIME
from stager.web.context import Control, Known, Web, WebContext
from stager.web.pages.frame import frame_of
from stager.web.pages.rendering import SCRIPTED, SECURITY, allow_forms_to, render
from stager.web.problems import status_of

router = APIRouter(include_in_schema=False)

PATH = "/setup/github"
COOKIE = "stager-setup"


@router.get(PATH)
async def offer(
    request: Request, control: Control, web: Web, actor: Known, organization: str = ""
) -> Response:
    """Show what happens, with the button that creates the App."""
    try:
        await control.identity.authorizer.check(actor, Action.SET_UP)
        setup = _setup(web)
        state, cookie = web.oauth_states.issue(actor, request.cookies.get(COOKIE, ""))
        proposal = setup.proposal(control.routing.urls.home, organization.strip(), state)
        response = await _page(control, actor, setup, proposal, organization=organization.strip())
    except StagerError as error:
        return _error_page(error)
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(LIFETIME),
        path=PATH,
        secure=control.routing.urls.is_https,
        httponly=True,
        samesite="lax",  # needed when GitHub redirects the browser back
    )
    return response


@router.get(PATH + "/callback")
async def callback(
    request: Request, control: Control, web: Web, actor: Known, code: str = "", state: str = ""
) -> Response:
    """Handle GitHub's redirect after the App was created."""
    try:
        await control.identity.authorizer.check(actor, Action.SET_UP)
        setup = _setup(web)
        if not web.oauth_states.accept(state, actor, request.cookies.get(COOKIE, "")):
            raise Refused(
                "Unknown or expired OAuth state.",
                hint=f"Start again at {PATH} in the same browser. Delete an App that was created.",
                reason="setup-state-unknown",
                status=403,
            )
        async with control.identity.audit.recorded(actor, Action.SET_UP, subject="GitHub App"):
            await setup.finish(code)
    except StagerError as error:
        return _error_page(error)
    return RedirectResponse(PATH, 303, headers=SECURITY)


def _setup(web: WebContext) -> AppSetup:
    if web.setup is None:
        raise Refused(
            "Connecting GitHub isn't available in this installation.", reason="setup-unavailable", status=404
        )
    return web.setup


async def _page(
    control: ControlPlane, actor: Actor, setup: AppSetup, proposal: Proposal, *, organization: str
) -> HTMLResponse:
    address = urlsplit(setup.forge_url)
    return render(
        "setup.html",
        frame=await frame_of(control, actor, "applications"),
        headers=allow_forms_to(f"{address.scheme}://{address.netloc}", SCRIPTED),
        path=PATH,
        forge=setup.forge_url,
        home=control.routing.urls.home,
        overridden=setup.overridden,
        made=setup.made(),
        proposal=proposal,
        organization=organization,
    )


def _error_page(error: StagerError) -> HTMLResponse:
    return render("setup-failed.html", status=status_of(error), path=PATH, error=error)
