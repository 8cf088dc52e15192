"""Where the front sends strangers of a private preview: asks them who they are, and sends them back with a
grant.

Anybody may open this page. It says no more of a preview than its host, which whoever comes knows already.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from stager.control.control_plane import ControlPlane
from stager.control.identity.audit import ANONYMOUS
from stager.control.identity.throttle import Throttle
from stager.control.routing.visitor_access import PAGE
from stager.domain.environment import Environment
from stager.domain.errors import Refused
from stager.domain.identity.access_policy import MAX_PATH, Privacy, Way, safe_path, same
from stager.domain.identity.actor import Actor
from stager.domain.identity.client_addresses import holder
from stager.domain.identity.roles import Action
from stager.domain.route import normalise_host
from stager.version import __version__
from stager.web.context import Control, Known, Web, address_of
from stager.web.pages.home import SECURITY, templates

router = APIRouter(include_in_schema=False)

BY_PASSWORD = "password of the preview"  # noqa: S105

LONGEST_HOST, LONGEST_PASSWORD = 300, 1024
Host = Annotated[str, Query(max_length=LONGEST_HOST)]
To = Annotated[str, Query(max_length=3 * MAX_PATH)]


@router.get(PAGE)
async def ask(control: Control, host: Host, to: To = "/") -> Response:
    """The page that asks."""
    environment, privacy = await _private(control, host)
    if privacy is None:
        return RedirectResponse(
            control.routing.urls.url(environment.host) + safe_path(to), 303, headers=SECURITY
        )
    return _page(control, environment, privacy, to)


@router.post(PAGE)
async def answer(
    request: Request,
    control: Control,
    web: Web,
    host: Annotated[str, Form(max_length=LONGEST_HOST)],
    to: Annotated[str, Form(max_length=3 * MAX_PATH)] = "/",
    password: Annotated[str, Form(max_length=LONGEST_PASSWORD)] = "",
) -> Response:
    """Takes the password."""
    environment, privacy = await _private(control, host)
    if privacy is None or "password" not in privacy.ways:
        raise Refused("There is no password for this preview.", reason="no-password", status=404)
    address = address_of(request)
    try:
        is_right = await _is_right(web.guesses, environment.host, address, password, privacy)
    except Refused as error:
        _not_let_in(control, Actor(ANONYMOUS, BY_PASSWORD, address=address), environment, error.reason)
        raise
    if not is_right:
        _not_let_in(control, Actor(ANONYMOUS, BY_PASSWORD, address=address), environment, "password-wrong")
        return _page(control, environment, privacy, to, trouble="Wrong password.", status=403)
    return _admitted(control, environment, "password", "", to)


@router.get(f"{PAGE}/sign-in")
async def signed_in(control: Control, actor: Known, host: Host, to: To = "/") -> Response:
    """Lets in whoever Stager knows, and who may see the application's previews."""
    environment, privacy = await _private(control, host)
    if privacy is None or "sign-in" not in privacy.ways:
        raise Refused("Signing in doesn't open this preview.", reason="no-sign-in", status=404)
    await control.identity.authorizer.check(actor, Action.SEE, environment.app)
    if await control.identity.authorizer.role(actor, environment.app) < privacy.viewers:
        _not_let_in(control, actor, environment, "not-permitted")
        raise Refused(
            f"{actor.name} may not see this preview.",
            hint=f"That takes the role {privacy.viewers} for its application.",
            reason="not-permitted",
            status=403,
        )
    return _admitted(control, environment, "sign-in", actor.name, to)


async def _is_right(
    guesses: tuple[Throttle, Throttle], host: str, address: str, password: str, privacy: Privacy
) -> bool:
    """Whether this is the preview's password. Raises `Refused` (429) after too many that weren't, from this
    address or from all together."""
    from_there, from_all = guesses
    async with from_there.attempt(f"{host} {holder(address)}") as of_one, from_all.attempt(host) as of_all:
        of_one.is_successful = of_all.is_successful = same(password, privacy.password)
    return of_one.is_successful


def _not_let_in(control: ControlPlane, actor: Actor, environment: Environment, reason: str) -> None:
    subject = f"{environment.name} ({environment.id})"
    control.identity.audit.refused(actor, Action.SEE, app=environment.app, subject=subject, reason=reason)


async def _private(control: ControlPlane, host: str) -> tuple[Environment, Privacy | None]:
    """The environment of this host, and what it asks. Raises `Refused` (404) when there is none."""
    name = normalise_host(host)
    environment = await control.ports.store.read(lambda tx: tx.environment_by_host(name))
    if environment is None:
        raise Refused("There is no preview at this address.", reason="address-unknown", status=404)
    return environment, control.routing.visitor_access.privacy(environment)


def _admitted(control: ControlPlane, environment: Environment, way: Way, subject: str, to: str) -> Response:
    return RedirectResponse(
        control.routing.visitor_access.grant_url(environment, way, subject, to), 303, headers=SECURITY
    )


def _page(
    control: ControlPlane,
    environment: Environment,
    privacy: Privacy,
    to: str,
    *,
    trouble: str = "",
    status: int = 200,
) -> Response:
    path = safe_path(to)
    html = templates.get_template("private.html").render(
        version=__version__,
        host=environment.host,
        to=path,
        action=PAGE,
        sign_in=f"{PAGE}/sign-in?{urlencode({'host': environment.host, 'to': path}, quote_via=quote)}",
        ways=privacy.ways,
        trouble=trouble,
    )
    return HTMLResponse(html, status, headers=_headers(control.routing.urls.url(environment.host)))


def _headers(preview: str) -> dict[str, str]:
    """Those of a page with a form. Browsers hold the way on to the preview against `form-action` as well, and
    tell the form's own origin only where the policy for referrers lets them (Fetch Standard, section 4.5)."""
    policy = SECURITY["Content-Security-Policy"].replace(
        "form-action 'none'", f"form-action 'self' {preview}"
    )
    return SECURITY | {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin"}
