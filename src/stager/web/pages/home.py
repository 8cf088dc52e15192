"""Stager's start page, and the endpoints for monitoring."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from stager.control.control_plane import ControlPlane
from stager.domain.errors import Refused, Retry
from stager.domain.identity.actor import Actor
from stager.domain.identity.client_addresses import is_among
from stager.domain.identity.roles import Action, Role
from stager.web.context import (
    Control,
    Web,
    actor_of,
    address_of,
    is_on_control_socket,
    visitor_of,
    web_of,
)
from stager.web.pages.dashboard import dashboard
from stager.web.pages.overview.selection import Selection
from stager.web.pages.rendering import render

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
async def home(request: Request, control: Control, web: Web) -> Response:
    """Show the dashboard to those who are signed in; to others, whether Stager is running and configured.
    That page is public, so it names previews only if `public_list` is set, and no private ones."""
    visitor = await _signed_in(request, control)
    if visitor is not None:
        given = request.query_params
        names = ("q", "show", "sort", "limit")
        return await dashboard(control, web, visitor, Selection.of(*(given.get(name, "") for name in names)))
    problems = dict(control.reconciler.readiness.problems)
    return render(
        "home.html",
        configured=bool(web.options.configuration),
        has_images=bool(list(control.applications)),
        domain=control.routing.urls.authority if control.routing.urls.is_known else "",
        example=control.routing.urls.url(f"my-branch.{control.routing.urls.domain}"),
        home=str(request.base_url).rstrip("/"),
        previews=await web.public_list.previews(control) if web.options.public_list else None,
        problems=problems,
        warnings=len(web.options.warnings),
    )


async def _signed_in(request: Request, control: ControlPlane) -> Actor | None:
    """Return the user with a session or, if the request has an `Authorization` header, with those
    credentials."""
    if "authorization" not in request.headers:
        return await visitor_of(request, control)
    try:
        return await actor_of(request, control)
    except Refused:
        return None


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz() -> Response:
    """Respond when the control plane is running."""
    return PlainTextResponse("ok")


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def readyz(control: Control) -> Response:
    """Report whether the database, the front and the engine work. The endpoint is public, so notices are
    counts without names. Previews that fail by an error of Stager's are notices as well, so that one
    preview's code can't make Stager unready."""
    problems = dict(control.reconciler.readiness.problems)
    aside = len(await control.ports.store.read(lambda tx: tx.deliveries_set_aside()))
    notices = {"deliveries": f"{aside} set aside; `stager doctor` lists them."} if aside else {}
    notices |= control.reconciler.unexpected_errors.notices | control.plugins.invoker.failures.notices
    answer = {"ready": not problems, "problems": problems, "notices": notices}
    return JSONResponse(answer, 503 if problems else 200)


@router.get("/metrics")
async def metrics(request: Request, control: Control, web: Web) -> Response:
    """Return Prometheus metrics: all of them on the control socket and for `metrics.allow`; with credentials,
    those of the applications that the user may see. The front's metrics are omitted while it doesn't
    respond."""
    apps = await _apps_counted(request, control)
    figures: Mapping[str, object] = {}
    with suppress(Retry):
        figures = await web.front_stats()
    by_state = await control.environments.queries.count_by_state(apps)
    degraded = await control.environments.queries.count_degraded(apps)
    # There is no await from here on: these counts are for this response.
    control.metrics.environments(by_state)
    control.metrics.degraded(degraded)
    control.metrics.front(figures)
    for forge in control.ports.forges:
        if (limit := forge.redelivery.limits()) is not None:
            control.metrics.forge_limit(forge.name, limit)
    return Response(control.metrics.text(apps), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _apps_counted(request: Request, control: ControlPlane) -> frozenset[str] | None:
    """Return the applications whose metrics the sender may read; None for all."""
    address = address_of(request)
    if is_on_control_socket(request) or is_among(address, web_of(request).options.metrics_for):
        return None
    actor = await actor_of(request, control)
    await control.identity.authorizer.check(actor, Action.READ_METRICS)
    if await control.identity.authorizer.role(actor) is Role.ADMINISTRATOR:
        return None
    return await control.identity.authorizer.visible(
        actor, {application.name for application in control.applications}
    )
