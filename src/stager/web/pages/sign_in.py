"""The pages for signing in and out: who comes here has a browser."""

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
from stager.version import __version__
from stager.web.auth import cookies
from stager.web.auth.csrf import SAFE_METHODS, is_ours
from stager.web.context import Control, address_of, as_basic, learn_domain, visitor_of
from stager.web.pages.home import SECURITY, templates
from stager.web.problems import status_of
from stager.web.request_body import form_of

router = APIRouter(include_in_schema=False)

PATH = "/login"
FORMS = SECURITY | {
    "Content-Security-Policy": SECURITY["Content-Security-Policy"].replace(
        "form-action 'none'", "form-action 'self'"
    ),
    # With `no-referrer` a browser says `Origin: null` of a form, and nobody could tell ours from others'.
    "Referrer-Policy": "same-origin",
}
LONGEST = 4_000
"""Characters of a path that somebody is sent on to, and of what a provider sends back."""


@router.get(PATH)
async def login(request: Request, control: Control, to: str = "/") -> Response:
    """Where to sign in."""
    if await visitor_of(request, control) is not None:
        return RedirectResponse(safe_path(to), 303, headers=SECURITY)
    return _form(control, safe_path(to))


class PasswordForm(BaseModel):
    """What somebody typed in."""

    user: str = Field("", max_length=300)
    password: str = Field("", max_length=LONGEST)
    to: str = Field("/", max_length=LONGEST)


class AnswerForm(BaseModel):
    """What somebody says to a command line that wants in."""

    state: str = Field("", max_length=200)
    answer: str = Field("", max_length=10)


@router.post(PATH)
async def login_with_password(request: Request, control: Control) -> Response:
    """Sign in with a name and a password, as they would be sent with HTTP Basic."""
    check_origin(request)
    form, agent = await form_of(request, PasswordForm), request.headers.get("user-agent", "")
    given = Credentials(as_basic(form.user, form.password), {}, address_of(request))
    try:
        begun = await control.identity.sign_in.with_credentials(given, agent)
    except Refused as error:
        return _form(control, safe_path(form.to), error=error, user=form.user)
    await learn_domain(request, control)
    return await _entered(request, control, begun, safe_path(form.to))


@router.get(PATH + "/{provider}")
async def go(request: Request, control: Control, provider: str, to: str = "/") -> Response:
    """Off to a provider."""
    browser = new_secret()
    address = address_of(request)
    try:
        url = await control.identity.sign_in.redirect_url(provider, browser, safe_path(to), address)
    except StagerError as error:
        return sorry(error)
    response = RedirectResponse(url, 303, headers=SECURITY)
    cookies.give(
        response,
        cookies.SIGN_IN,
        browser,
        secure=control.routing.urls.is_https,
        seconds=LIFETIME.total_seconds(),
    )
    return response


@router.get(PATH + "/{provider}/callback")
async def callback(request: Request, control: Control, provider: str) -> Response:
    """Where a provider sends the browser back to."""
    return await came_back(request, control, provider)


@router.post(PATH + "/authorize")
async def authorize(request: Request, control: Control) -> Response:
    """Whoever came back says whether the command line is theirs."""
    check_origin(request)
    form = await form_of(request, AnswerForm)
    browser = cookies.read(request, cookies.SIGN_IN, secure=control.routing.urls.is_https)
    address = address_of(request)
    try:
        if form.answer != "yes":
            await control.identity.sign_in.deny(form.state, browser, address)
            return _signed_in(control, "denied", "")
        one = await control.identity.sign_in.authorize(form.state, browser, address)
    except StagerError as error:
        return sorry(error)
    response = _signed_in(control, "done", one.identity.name if one.identity else "")
    cookies.take(response, cookies.SIGN_IN, secure=control.routing.urls.is_https)
    return response


@router.post("/logout")
async def logout(request: Request, control: Control) -> Response:
    """Sign out in this browser."""
    check_origin(request)
    secret = cookies.read(request, cookies.SESSION, secure=control.routing.urls.is_https)
    session, actor = await control.identity.sessions.find(secret), await visitor_of(request, control)
    if session is not None and actor is not None:
        await control.identity.sessions.end(actor, session.id)
    response = RedirectResponse("/", 303, headers=SECURITY)
    cookies.take(response, cookies.SESSION, secure=control.routing.urls.is_https)
    return response


async def came_back(request: Request, control: ControlPlane, provider: str = "") -> Response:
    """What a browser gets to see that a provider has sent back."""
    query = {name: value[:LONGEST] for name, value in request.query_params.items()}
    browser = cookies.read(request, cookies.SIGN_IN, secure=control.routing.urls.is_https) or new_secret()
    address, agent = address_of(request), request.headers.get("user-agent", "")
    state, code = query.get("state", ""), query.get("code", "")
    try:
        if "error" in query or not code:
            await control.identity.sign_in.fail(state, browser, address, query.get("error", ""))
        one = await control.identity.sign_in.complete(state, code, browser, address, provider)
        if not one.is_for_command_line:
            begun = await control.identity.sign_in.start_session(one, address, agent)
            return await _entered(request, control, begun, one.target)
    except StagerError as error:
        return sorry(error)
    name = one.identity.name if one.identity else ""
    response = _signed_in(control, "confirm", name, address=one.address, code=one.code, state=state)
    cookies.give(
        response,
        cookies.SIGN_IN,
        browser,
        secure=control.routing.urls.is_https,
        seconds=LIFETIME.total_seconds(),
    )
    return response


async def _entered(request: Request, control: ControlPlane, begun: tuple[Session, str], to: str) -> Response:
    """Off to where somebody wanted to go, signed in. Whoever was signed in here before is so no more."""
    session, secret = begun
    old = await control.identity.sessions.find(
        cookies.read(request, cookies.SESSION, secure=control.routing.urls.is_https)
    )
    if old is not None:
        before = Actor(old.person.name, old.person.by, strategy=old.person.strategy, address=session.address)
        await control.identity.sessions.end(before, old.id)
    response = RedirectResponse(to, 303, headers=SECURITY)
    cookies.give(response, cookies.SESSION, secret, secure=control.routing.urls.is_https)
    cookies.take(response, cookies.SIGN_IN, secure=control.routing.urls.is_https)
    return response


def check_origin(request: Request) -> None:
    """Raise `Refused` unless the form certainly comes from a page of ours."""
    if request.method not in SAFE_METHODS and not is_ours(request.scope):
        raise Refused(
            "This form is only for Stager's own pages.",
            hint="Commands use the API, with a token.",
            reason="cross-origin",
            status=403,
        )


def sorry(error: StagerError) -> HTMLResponse:
    """A page that says why nobody was signed in."""
    html = templates.get_template("sign-in-failed.html").render(version=__version__, path=PATH, error=error)
    return HTMLResponse(html, status_of(error), headers=SECURITY)


def _form(control: ControlPlane, to: str, *, error: Refused | None = None, user: str = "") -> HTMLResponse:
    providers = [provider.sign_in for provider in control.identity.sign_in.providers.values()]
    html = templates.get_template("login.html").render(
        version=__version__,
        to=to,
        providers=[
            (place.title, f"{PATH}/{place.name}?{urlencode({'to': to})}")
            for place in providers
            if place.is_ready
        ],
        waiting=[place.title for place in providers if not place.is_ready],
        passwords=control.identity.sign_in.takes_passwords,
        error=error,
        user=user,
        insecure=not control.routing.urls.is_https and not control.routing.urls.is_local,
    )
    return HTMLResponse(html, error.status if error else 200, headers=_on_to(control))


def _on_to(control: ControlPlane) -> dict[str, str]:
    """Headers of a form from which one may be sent on to a private preview: browsers hold all of that way
    against `form-action`."""
    policy = FORMS["Content-Security-Policy"]
    return FORMS | {
        "Content-Security-Policy": policy.replace(
            "form-action 'self'", f"form-action 'self' {control.routing.urls.previews}"
        )
    }


def _signed_in(control: ControlPlane, stage: str, name: str, **more: str) -> HTMLResponse:
    html = templates.get_template("signed-in.html").render(
        version=__version__,
        stage=stage,
        name=name,
        home=control.routing.urls.home,
        authorize=f"{PATH}/authorize",
        **more,
    )
    return HTMLResponse(html, headers=FORMS)
