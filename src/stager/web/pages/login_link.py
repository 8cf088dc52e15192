"""One-time sign-in links for administrators: created on the control socket, redeemed in a browser."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from stager.control.identity.login_links import LIFETIME
from stager.domain.errors import StagerError
from stager.web.context import Control, Web, address_of, is_on_control_socket
from stager.web.pages.rendering import render
from stager.web.pages.sign_in import check_origin, error_page, start_browser_session
from stager.web.request_body import form_of

router = APIRouter(include_in_schema=False)

PATH = "/login/link"


class LinkForm(BaseModel):
    """The form with a link's secret."""

    secret: str = Field("", max_length=100)


@router.post("/control/login-link")
async def create(request: Request, control: Control, if_unused: bool = False) -> Response:
    """Create a link, for the command line on this machine. Through the front, there is no such path.

    Args:
        if_unused: only while no other way to sign in is configured and no link was used; otherwise 204.
    """
    if not is_on_control_socket(request):
        raise HTTPException(404)
    identity, urls = control.identity, control.routing.urls
    if if_unused and (identity.sign_in.is_possible or await identity.login_links.was_used()):
        return Response(status_code=204)
    secret = await identity.login_links.create()
    return JSONResponse(
        {
            "home": urls.home,
            "is_home_known": urls.is_known,
            "path": f"{PATH}?{urlencode({'secret': secret})}",
            "expires_in": LIFETIME.total_seconds(),
        },
        201,
    )


@router.get(PATH)
async def confirm(secret: str = "") -> Response:
    """Ask whether to sign in. Opening a link doesn't use it, because chats and mail scanners open links."""
    return render("login-link.html", path=PATH, secret=secret[:100])


@router.post(PATH)
async def redeem(request: Request, control: Control, web: Web) -> Response:
    """Sign in as administrator, and continue with the setup where there is no application yet."""
    check_origin(request)
    form, agent = await form_of(request, LinkForm), request.headers.get("user-agent", "")
    try:
        started = await control.identity.login_links.redeem(form.secret, address_of(request), agent)
    except StagerError as error:
        return error_page(error)
    is_first_run = web.applications is not None and not list(control.applications)
    return await start_browser_session(request, control, started, "/setup" if is_first_run else "/")
