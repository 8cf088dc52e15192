"""The responses of the front itself: error pages as HTML for people and as JSON for programs, and plain text.

Pure. Names, messages and log lines come from users and repositories, so everything is escaped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.utils import formatdate
from html import escape
from http import HTTPStatus
from importlib import resources
from string import Template
from typing import Any

from stager.domain.route import Page
from stager.domain.text import with_code
from stager.front.http.head import RequestHead

_TEMPLATE = Template(resources.files("stager.front.proxy").joinpath("page.html").read_text(encoding="utf-8"))
_REFRESH_SECONDS = 2


@dataclass(frozen=True, slots=True)
class PageTemplate:
    """The error page of one state.

    Args:
        status: of the response.
        title: the headline; `{name}` is replaced by the environment's name.
        message: what is wrong, if the route table has no message.
        hint: what to do, if the route table has no hint.
        refreshes: whether the state is temporary: the page reloads itself, and there is a `Retry-After`
            header.
        tone: the colour.
    """

    status: int
    title: str
    message: str
    hint: str = ""
    refreshes: bool = False
    tone: str = "wait"


STATES = {
    "starting": PageTemplate(
        503,
        "{name} is starting",
        "It opens here as soon as it is ready.",
        "You don't need to reload this page.",
        refreshes=True,
    ),
    "failed": PageTemplate(
        502,
        "{name} could not be started",
        "The last attempt failed.",
        "Push a new commit or launch it again to retry.",
        tone="bad",
    ),
    "stopped": PageTemplate(503, "{name} is stopped", "It isn't running at the moment.", tone="calm"),
    "expired": PageTemplate(
        503,
        "{name} has expired",
        "Nobody visited it or pushed for some time.",
        "It comes back with the next push or when it is launched.",
        tone="calm",
    ),
    "refused": PageTemplate(
        403,
        "{name} is not allowed to run here",
        "The configuration of this server doesn't allow it.",
        tone="bad",
    ),
    "gone": PageTemplate(
        410,
        "{name} was removed",
        "Its pull request was closed, or the preview was deleted.",
        tone="calm",
    ),
    "unknown": PageTemplate(
        404,
        "There is no preview at {name}",
        "Stager has no preview with this address.",
        "Check the spelling, or open a pull request to create a preview.",
        tone="calm",
    ),
    "unreachable": PageTemplate(
        502,
        "{name} does not respond",
        "The application is running, but it doesn't accept connections.",
        "This page retries automatically.",
        refreshes=True,
        tone="bad",
    ),
    "bad-response": PageTemplate(
        502,
        "{name} sent an invalid response",
        "The response isn't valid HTTP, or it is incomplete.",
        "The application's log may tell more.",
        tone="bad",
    ),
    "no-response": PageTemplate(
        504,
        "{name} took too long to respond",
        "The application received the request, but didn't respond.",
        "The application's log may tell more. `response_timeout` in Stager's configuration allows more time.",
        tone="bad",
    ),
    "restarting": PageTemplate(
        503,
        "Stager is starting or restarting",
        "Previews continue to work meanwhile.",
        "This page retries automatically.",
        refreshes=True,
    ),
}


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """An error page: its state and details. Empty texts are replaced by those of the state.

    Args:
        state: one of `STATES`.
        name: the environment's name, or the host.
        app: the application's name.
        message: what is wrong, one sentence.
        hint: what to do.
        lines: the last lines of the log.
        url: the pull request.
        log_url: Stager's own page about the environment.
    """

    state: str
    name: str = ""
    app: str = ""
    message: str = ""
    hint: str = ""
    lines: tuple[str, ...] = ()
    url: str = ""
    log_url: str = ""

    @classmethod
    def of(cls, page: Page, host: str) -> ErrorPage:
        """Make the error page for a target of the route table."""
        return cls(
            page.state,
            page.name or host,
            page.app,
            page.message,
            page.hint,
            page.lines,
            page.url,
            page.log_url,
        )

    @property
    def status(self) -> int:
        """The status of the response."""
        return STATES[self.state].status


@dataclass(frozen=True, slots=True)
class PlainResponse:
    """A response of one sentence for people and programs alike, such as a redirect of the access gate."""

    status: int
    text: str
    headers: dict[str, str]


def respond(
    response: ErrorPage | PlainResponse, request: RequestHead, request_id: bytes, *, keep: bool
) -> bytes:
    """Return the whole response to `request`. An error page is HTML for clients that accept it, otherwise
    problem details (RFC 9457)."""
    if isinstance(response, PlainResponse):
        return _respond_plain(response, request, request_id, keep=keep)
    html = b"text/html" in request.value(b"accept").lower()
    body = _html(response) if html else _problem(response)
    headers = {
        "Content-Type": "text/html; charset=utf-8" if html else "application/problem+json",
        "Vary": "Accept",
        "X-Robots-Tag": "noindex",
        "X-Request-Id": request_id.decode("ascii"),
    }
    if STATES[response.state].refreshes:
        headers["Retry-After"] = str(_REFRESH_SECONDS)
    if html:
        headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
        )
    head = _head(response.status, headers, len(body), keep=keep, minor=request.minor)
    return head if request.method == b"HEAD" else head + body


def refuse(status: int, message: str, headers: dict[str, str] | None = None) -> bytes:
    """Return the whole response to a request that couldn't be read; it closes the connection."""
    body = f"{message}\n".encode()
    headers = {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}
    return _head(status, headers, len(body), keep=False, minor=1) + body


def _respond_plain(response: PlainResponse, request: RequestHead, request_id: bytes, *, keep: bool) -> bytes:
    body = f"{response.text}\n".encode()
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "X-Robots-Tag": "noindex",
        "X-Request-Id": request_id.decode("ascii"),
        **response.headers,
    }
    head = _head(response.status, headers, len(body), keep=keep, minor=request.minor)
    return head if request.method == b"HEAD" else head + body


def _head(status: int, headers: dict[str, str], length: int, *, keep: bool, minor: int) -> bytes:
    headers = {
        "Date": formatdate(usegmt=True),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        **headers,
        "Content-Length": str(length),
    }
    if not keep:
        headers["Connection"] = "close"
    elif minor == 0:
        headers["Connection"] = "keep-alive"
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _texts(page: ErrorPage) -> tuple[str, str, str]:
    """Title, message and hint."""
    template = STATES[page.state]
    title = template.title.replace("{name}", page.name or "This preview")
    return title, page.message or template.message, page.hint or template.hint


def _problem(page: ErrorPage) -> bytes:
    title, message, hint = _texts(page)
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(page.status).phrase,
        "status": page.status,
        "detail": f"{title}. {message}",
        "state": page.state,
        "name": page.name,
        "app": page.app,
        "hint": hint,
        "lines": list(page.lines),
    }
    problem |= {name: url for name, url in (("url", page.url), ("log_url", page.log_url)) if url}
    return json.dumps(problem, ensure_ascii=False, indent=2).encode() + b"\n"


def _html(page: ErrorPage) -> bytes:
    template = STATES[page.state]
    title, message, hint = _texts(page)
    html = _TEMPLATE.substitute(
        refresh=f'<meta http-equiv="refresh" content="{_REFRESH_SECONDS}">' if template.refreshes else "",
        title=escape(title),
        tone=template.tone,
        app=f'<p class="app">{escape(page.app)}</p>' if page.app else "",
        message=with_code(escape(message)),
        hint=f'<p class="hint">{with_code(escape(hint))}</p>' if hint else "",
        lines=_log(page.lines),
        links=_link(page.log_url, "Logs and deployments") + _link(page.url, "Pull request"),
        status=template.status,
        state=escape(page.state),
    )
    return html.encode()


def _log(lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    title, text = "Last lines of the log", escape("\n".join(lines))
    # Reversed by the style sheet, so that the browser shows the end of the log without a script.
    return f'<h2>{title}</h2><div class="log" tabindex="0" aria-label="{title}"><pre>{text}</pre></div>'


def _link(url: str, text: str) -> str:
    """A link, if the URL is a web address: a `javascript:` URL would run on this page."""
    if not url.startswith(("https://", "http://")):
        return ""
    return f'<p><a href="{escape(url)}" rel="noreferrer">{text}</a></p>'
