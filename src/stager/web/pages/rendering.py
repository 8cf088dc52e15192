"""Renders Stager's pages: the templates, and the headers of every page."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup, escape

from stager.domain.identity.actor import Actor
from stager.domain.text import with_code
from stager.version import __version__
from stager.web.auth.user_agent import describe
from stager.web.pages.frame import Frame
from stager.web.static_files import static_url

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # With `no-referrer`, browsers send `Origin: null` for forms, so Stager's own couldn't be recognized.
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
}
SCRIPTED = SECURITY | {
    "Content-Security-Policy": SECURITY["Content-Security-Policy"] + "; script-src 'self'; connect-src 'self'"
}
"""Allows Stager's own scripts, and their requests. Pages for people who aren't signed in have none."""

templates = Environment(
    loader=PackageLoader("stager.web"), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
)
templates.globals["static"] = static_url
templates.filters["browser"] = describe
templates.filters["code"] = lambda text: Markup(with_code(str(escape(text))))  # noqa: S704 (it is escaped)


def render(
    template: str,
    *,
    frame: Frame | None = None,
    visitor: Actor | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: object,
) -> HTMLResponse:
    """Return a page as a response.

    Args:
        frame: what the header shows, from `frame_of`; None for public pages.
        visitor: the user, where a frame with the name alone is enough.
        headers: by default those of a page with scripts, or of one without on public pages.
        context: the variables of the template.
    """
    if frame is None and visitor is not None:
        frame = Frame(visitor.name, has_session=visitor.in_browser)
    html = templates.get_template(template).render(version=__version__, frame=frame, **context)
    return HTMLResponse(html, status, headers=dict(headers or (SCRIPTED if frame else SECURITY)))


def allow_forms_to(sources: str, headers: Mapping[str, str] = SECURITY) -> dict[str, str]:
    """Return the headers of a page whose forms may also be sent, or redirected, to other origins. Browsers
    check redirects against `form-action` as well.

    Args:
        sources: source expressions of a Content-Security-Policy.
    """
    policy = headers["Content-Security-Policy"].replace("form-action 'self'", f"form-action 'self' {sources}")
    return {**headers, "Content-Security-Policy": policy}
