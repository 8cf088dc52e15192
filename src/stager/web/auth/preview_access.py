"""Login to private previews: the front redirects visitors without access here; they return with a grant.

The page is public, so it shows nothing about a preview but its host, which the visitor knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from stager.control.control_plane import ControlPlane
from stager.control.identity.audit import ANONYMOUS
from stager.control.identity.throttle import Throttle
from stager.control.routing.urls import hosts_of
from stager.control.routing.visitor_access import PAGE
from stager.domain.environment import Environment
from stager.domain.errors import Refused
from stager.domain.identity.access_policy import MAX_PATH, Privacy, Way, safe_path, same
from stager.domain.identity.actor import Actor
from stager.domain.identity.client_addresses import holder
from stager.domain.identity.roles import Action
from stager.domain.route import normalise_host
from stager.ports.store import Transaction
from stager.web.context import Control, Known, Web, address_of
from stager.web.pages.rendering import SECURITY, allow_forms_to, render

router = APIRouter(include_in_schema=False)

BY_PASSWORD = "password of the preview"  # noqa: S105

LONGEST_HOST, LONGEST_PASSWORD = 300, 1024
Host = Annotated[str, Query(max_length=LONGEST_HOST)]
To = Annotated[str, Query(max_length=3 * MAX_PATH)]


@router.get(PAGE)
async def ask(control: Control, host: Host, to: To = "/") -> Response:
    """Show the login page of a private preview."""
    visit, privacy = await _private(control, host, to)
    if privacy is None:
        return RedirectResponse(control.routing.urls.url(visit.host) + visit.to, 303, headers=SECURITY)
    return _page(control, visit, privacy)


@router.post(PAGE)
async def answer(
    request: Request,
    control: Control,
    web: Web,
    host: Annotated[str, Form(max_length=LONGEST_HOST)],
    to: Annotated[str, Form(max_length=3 * MAX_PATH)] = "/",
    password: Annotated[str, Form(max_length=LONGEST_PASSWORD)] = "",
) -> Response:
    """Check the password of a private preview."""
    visit, privacy = await _private(control, host, to)
    environment = visit.environment
    if privacy is None or "password" not in privacy.ways:
        raise Refused("This preview has no password.", reason="no-password", status=404)
    address = address_of(request)
    try:
        is_correct = await _is_password(web.password_throttles, environment.host, address, password, privacy)
    except Refused as error:
        _record_refusal(control, Actor(ANONYMOUS, BY_PASSWORD, address=address), environment, error.reason)
        raise
    if not is_correct:
        _record_refusal(
            control, Actor(ANONYMOUS, BY_PASSWORD, address=address), environment, "password-wrong"
        )
        return _page(control, visit, privacy, error="Wrong password.", status=403)
    return _admitted(control, visit, "password", "")


@router.get(f"{PAGE}/sign-in")
async def signed_in(control: Control, actor: Known, host: Host, to: To = "/") -> Response:
    """Admit a signed-in user who may see the application's previews."""
    visit, privacy = await _private(control, host, to)
    environment = visit.environment
    if privacy is None or "sign-in" not in privacy.ways:
        raise Refused("Signing in doesn't give access to this preview.", reason="no-sign-in", status=404)
    await control.identity.authorizer.check(actor, Action.SEE, environment.app)
    if await control.identity.authorizer.role(actor, environment.app) < privacy.viewers:
        _record_refusal(control, actor, environment, "not-permitted")
        raise Refused(
            f"{actor.name} has no access to this preview.",
            hint=f"It requires the role {privacy.viewers} for its application.",
            reason="not-permitted",
            status=403,
        )
    return _admitted(control, visit, "sign-in", actor.name)


async def _is_password(
    throttles: tuple[Throttle, Throttle], host: str, address: str, password: str, privacy: Privacy
) -> bool:
    """Whether this is the preview's password. Raises `Refused` (429) after too many failures from this
    address or from all addresses together."""
    per_address, total = throttles
    async with (
        per_address.attempt(f"{host} {holder(address)}") as address_attempt,
        total.attempt(host) as total_attempt,
    ):
        address_attempt.is_successful = total_attempt.is_successful = same(password, privacy.password)
    return address_attempt.is_successful


def _record_refusal(control: ControlPlane, actor: Actor, environment: Environment, reason: str) -> None:
    subject = f"{environment.name} ({environment.id})"
    control.identity.audit.refused(actor, Action.SEE, app=environment.app, subject=subject, reason=reason)


@dataclass(frozen=True, slots=True)
class _Visit:
    """What a visitor was redirected here for.

    Args:
        host: one of the environment's hosts.
        to: a path there.
        hosts: all of the environment's hosts, which the visitor is redirected through.
    """

    environment: Environment
    host: str
    to: str
    hosts: tuple[str, ...]


async def _private(control: ControlPlane, host: str, to: str) -> tuple[_Visit, Privacy | None]:
    """Return the visit of this host and the privacy settings of its environment. Raises `Refused` (404) when
    there is none."""
    name = normalise_host(host)

    def look(tx: Transaction) -> _Visit | None:
        found = tx.environment_by_host(name)
        return _Visit(found, name, safe_path(to), tuple(hosts_of(tx, found))) if found else None

    visit = await control.ports.store.read(look)
    if visit is None:
        raise Refused("There is no preview at this host.", reason="address-unknown", status=404)
    return visit, control.routing.visitor_access.privacy(visit.environment)


def _admitted(control: ControlPlane, visit: _Visit, way: Way, subject: str) -> Response:
    url = control.routing.visitor_access.grant_url(visit.environment, visit.host, way, subject, visit.to)
    return RedirectResponse(url, 303, headers=SECURITY)


def _page(
    control: ControlPlane, visit: _Visit, privacy: Privacy, *, error: str = "", status: int = 200
) -> Response:
    query = urlencode({"host": visit.host, "to": visit.to}, quote_via=quote)
    # The form's response redirects through all hosts of the preview.
    sources = " ".join(control.routing.urls.url(host) for host in visit.hosts)
    return render(
        "private.html",
        status=status,
        headers=allow_forms_to(sources),
        host=visit.host,
        to=visit.to,
        action=PAGE,
        sign_in=f"{PAGE}/sign-in?{query}",
        ways=privacy.ways,
        error=error,
    )
