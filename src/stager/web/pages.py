"""Stager's own page for people, and the answers for machines that watch over it."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup, escape

from stager.domain.access import Action
from stager.domain.errors import Retry
from stager.domain.status import status_of
from stager.domain.text import with_code
from stager.ports.store import Transaction
from stager.version import __version__
from stager.web.agents import in_short
from stager.web.services import Served, actor_of, visitor_of

router = APIRouter(include_in_schema=False)

templates = Environment(
    loader=PackageLoader("stager.web"), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
)
templates.filters["browser"] = in_short
templates.filters["code"] = lambda text: Markup(with_code(str(escape(text))))  # noqa: S704 (it is escaped)

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
}


@router.api_route("/", methods=["GET", "HEAD"])
async def home(request: Request, services: Served) -> Response:
    """Says that Stager runs, and what is left to do. Anybody may see it, so it names no preview."""
    troubles = dict(services.supervisor.troubles)
    visitor = await visitor_of(request, services)
    html = templates.get_template("home.html").render(
        visitor=visitor.name if visitor else "",
        version=__version__,
        configured=bool(services.configuration),
        has_images=bool(list(services.applications)),
        domain=services.addresses.authority if services.addresses.known else "",
        example=services.addresses.url(f"my-branch.{services.addresses.domain}"),
        home=str(request.base_url).rstrip("/"),
        troubles=troubles,
        warnings=len(services.warnings),
    )
    return HTMLResponse(html, headers=SECURITY)


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz() -> Response:
    """Stager's process answers."""
    return PlainTextResponse("ok")


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def readyz(services: Served) -> Response:
    """Whether Stager can do its work: its database, the front and the engine answer."""
    troubles = dict(services.supervisor.troubles)
    await services.store.read(lambda tx: tx.fact("domain"))
    return JSONResponse({"ready": not troubles, "troubles": troubles}, 503 if troubles else 200)


@router.get("/metrics")
async def metrics(request: Request, services: Served) -> Response:
    """What is counted, for Prometheus: for this machine itself, and for whoever has credentials. The front's
    figures are left out while it is away."""
    if not _is_local(request):
        await services.access.check(await actor_of(request, services), Action.READ_METRICS)
    services.metrics.environments(await services.store.read(_count_by_state))
    for forge in services.forges:
        if (limit := forge.recovery.limits()) is not None:
            services.metrics.forge_limit(forge.name, limit)
    with suppress(Retry):
        services.metrics.front(await services.front_figures())
    return Response(services.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _is_local(request: Request) -> bool:
    """Whether the front saw the request come from this machine. Behind a proxy that it trusts, all that they
    say counts: whoever sends the request may have written the first address."""
    addresses = request.headers.get("x-forwarded-for", "").split(",")
    return all(address.strip() in ("127.0.0.1", "::1") for address in addresses)


def _count_by_state(tx: Transaction) -> dict[str, int]:
    """How many environments there are in each state."""
    counts = Counter[str]()
    for environment in tx.environments():
        deployment = tx.deployment_of(environment.id, environment.desired.generation)
        counts[status_of(environment, deployment).state.value] += 1
    return dict(counts)
