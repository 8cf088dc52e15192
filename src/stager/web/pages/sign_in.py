"""The pages for signing in and out in a browser."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from stager.control.control_plane import ControlPlane
from stager.control.identity.login_flows import LIFETIME
from stager.control.identity.secrets import new_secret
from stager.domain.errors import Refused, StagerError
from stager.domain.identity.access_policy import safe_path
from stager.domain.identity.accounts import Session
from stager.domain.identity.actor import Actor
from stager.ports.handlers import Credentials
from stager.web.auth import cookies
from stager.web.auth.csrf import SAFE_METHODS, is_same_origin
from stager.web.context import Control, address_of, as_basic, learn_domain, visitor_of
from stager.web.pages.rendering import SECURITY, allow_forms_to, render
from stager.web.problems import status_of
from stager.web.request_body import form_of

router = APIRouter(include_in_schema=False)

PATH = "/login"
MAX_LENGTH = 4_000
"""Characters of a path to redirect to, and of a provider's parameters."""


@router.get(PATH)
async def login(request: Request, control: Control, to: str = "/") -> Response:
    """Show the sign-in page."""
    if await visitor_of(request, control) is not None:
        return RedirectResponse(safe_path(to), 303, headers=SECURITY)
    return _form(control, safe_path(to))


class PasswordForm(BaseModel):
    """The form with a name and a password."""

    user: str = Field("", max_length=300)
    password: str = Field("", max_length=MAX_LENGTH)
    to: str = Field("/", max_length=MAX_LENGTH)


class AnswerForm(BaseModel):
    """The user's answer to a command line's request for access."""

    state: str = Field("", max_length=200)
    answer: str = Field("", max_length=10)


@router.post(PATH)
async def login_with_password(request: Request, control: Control) -> Response:
    """Sign in with a name and a password, as for HTTP Basic."""
    check_origin(request)
    form, agent = await form_of(request, PasswordForm), request.headers.get("user-agent", "")
    given = Credentials(as_basic(form.user, form.password), {}, address_of(request))
    try:
        started = await control.identity.sign_in.with_credentials(given, agent)
    except Refused as error:
        return _form(control, safe_path(form.to), error=error, user=form.user)
    await learn_domain(request, control)
    return await start_browser_session(request, control, started, safe_path(form.to))


@router.get(PATH + "/{provider}")
async def redirect_to_provider(request: Request, control: Control, provider: str, to: str = "/") -> Response:
    """Redirect the browser to a provider."""
    browser = new_secret()
    address = address_of(request)
    try:
        url = await control.identity.sign_in.redirect_url(provider, browser, safe_path(to), address)
    except StagerError as error:
        return error_page(error)
    response = RedirectResponse(url, 303, headers=SECURITY)
    _set_browser_cookie(response, control, browser)
    return response


@router.get(PATH + "/{provider}/callback")
async def callback(request: Request, control: Control, provider: str) -> Response:
    """Handle a provider's redirect back."""
    return await handle_callback(request, control, provider)


@router.post(PATH + "/authorize")
async def authorize(request: Request, control: Control) -> Response:
    """Authorize a command line, or deny it access."""
    check_origin(request)
    form = await form_of(request, AnswerForm)
    browser = cookies.read(request, cookies.SIGN_IN, secure=control.routing.urls.is_https)
    address = address_of(request)
    try:
        if form.answer != "yes":
            await control.identity.sign_in.deny(form.state, browser, address)
            return _signed_in(control, "denied", "")
        login = await control.identity.sign_in.authorize(form.state, browser, address)
    except StagerError as error:
        return error_page(error)
    response = _signed_in(control, "done", login.identity.name if login.identity else "")
    cookies.delete_cookie(response, cookies.SIGN_IN, secure=control.routing.urls.is_https)
    return response


@router.post("/logout")
async def logout(request: Request, control: Control) -> Response:
    """End the browser's session."""
    check_origin(request)
    secret = cookies.read(request, cookies.SESSION, secure=control.routing.urls.is_https)
    session, actor = await control.identity.sessions.find(secret), await visitor_of(request, control)
    if session is not None and actor is not None:
        await control.identity.sessions.end(actor, session.id)
    response = RedirectResponse("/", 303, headers=SECURITY)
    cookies.delete_cookie(response, cookies.SESSION, secure=control.routing.urls.is_https)
    return response


async def handle_callback(request: Request, control: ControlPlane, provider: str = "") -> Response:
    """Complete a sign-in after a provider's redirect: start a session, or ask to authorize the command
    line."""
    query = {name: value[:MAX_LENGTH] for name, value in request.query_params.items()}
    browser = cookies.read(request, cookies.SIGN_IN, secure=control.routing.urls.is_https) or new_secret()
    address, agent = address_of(request), request.headers.get("user-agent", "")
    state, code = query.get("state", ""), query.get("code", "")
    try:
        if "error" in query or not code:
            await control.identity.sign_in.fail(state, browser, address, query.get("error", ""))
        login = await control.identity.sign_in.complete(state, code, browser, address, provider)
        if not login.is_for_command_line:
            started = await control.identity.sign_in.start_session(login, address, agent)
            return await start_browser_session(request, control, started, login.target)
    except StagerError as error:
        return error_page(error)
    name = login.identity.name if login.identity else ""
    response = _signed_in(control, "confirm", name, address=login.address, code=login.code, state=state)
    _set_browser_cookie(response, control, browser)
    return response


def _set_browser_cookie(response: Response, control: ControlPlane, browser: str) -> None:
    """Tie the sign-in to this browser, until it is completed or expires."""
    secure, seconds = control.routing.urls.is_https, LIFETIME.total_seconds()
    cookies.set_cookie(response, cookies.SIGN_IN, browser, secure=secure, seconds=seconds)


async def start_browser_session(
    request: Request, control: ControlPlane, started: tuple[Session, str], to: str
) -> Response:
    """Set the session cookie and redirect to the target. Ends the browser's previous session."""
    session, secret = started
    old = await control.identity.sessions.find(
        cookies.read(request, cookies.SESSION, secure=control.routing.urls.is_https)
    )
    if old is not None:
        before = Actor(old.person.name, old.person.by, strategy=old.person.strategy, address=session.address)
        await control.identity.sessions.end(before, old.id)
    response = RedirectResponse(to, 303, headers=SECURITY)
    cookies.set_cookie(response, cookies.SESSION, secret, secure=control.routing.urls.is_https)
    cookies.delete_cookie(response, cookies.SIGN_IN, secure=control.routing.urls.is_https)
    return response


def check_origin(request: Request) -> None:
    """Raise `Refused` (403) unless the form comes from one of Stager's own pages."""
    if request.method not in SAFE_METHODS and not is_same_origin(request.scope):
        raise Refused(
            "This form can only be used from Stager's own pages.",
            hint="Programs use the API with a token.",
            reason="cross-origin",
            status=403,
        )


def error_page(error: StagerError) -> HTMLResponse:
    """Return a page with the reason of a failed sign-in."""
    return render("sign-in-failed.html", status=status_of(error), path=PATH, error=error)


def _form(control: ControlPlane, to: str, *, error: Refused | None = None, user: str = "") -> HTMLResponse:
    providers = [provider.sign_in for provider in control.identity.sign_in.providers.values()]
    # After signing in, the browser may be redirected to a private preview.
    return render(
        "login.html",
        status=error.status if error else 200,
        headers=allow_forms_to(control.routing.urls.previews),
        to=to,
        providers=[
            (provider.title, f"{PATH}/{provider.name}?{urlencode({'to': to})}")
            for provider in providers
            if provider.is_ready
        ],
        waiting=[provider.title for provider in providers if not provider.is_ready],
        passwords=control.identity.sign_in.takes_passwords,
        error=error,
        user=user,
        insecure=not control.routing.urls.is_https and not control.routing.urls.is_local,
    )


def _signed_in(
    control: ControlPlane, stage: str, name: str, *, address: str = "", code: str = "", state: str = ""
) -> HTMLResponse:
    return render(
        "signed-in.html",
        stage=stage,
        name=name,
        home=control.routing.urls.home,
        authorize=f"{PATH}/authorize",
        address=address,
        code=code,
        state=state,
    )
