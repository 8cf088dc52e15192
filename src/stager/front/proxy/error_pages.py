"""What the front answers itself: a page for people, the same as JSON for machines, and plain words for bad
requests.

Pure. Everything shown was written by strangers (branch names, log lines), so everything is escaped.
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
from stager.front.proxy.access_gate import Notice

_TEMPLATE = Template(resources.files("stager.front.proxy").joinpath("page.html").read_text(encoding="utf-8"))
_REFRESH = 2


@dataclass(frozen=True, slots=True)
class State:
    """How a state of a host is answered.

    Args:
        status: of the response.
        title: the headline; `{name}` is what people call the environment.
        message: what is the matter, when the table doesn't say.
        hint: what to do, when the table doesn't say.
        refreshes: whether it passes by itself: the page looks again, and machines get `Retry-After`.
        tone: the colour of its mark.
    """

    status: int
    title: str
    message: str
    hint: str = ""
    refreshes: bool = False
    tone: str = "wait"


STATES = {
    "starting": State(
        503,
        "{name} is starting",
        "It opens here as soon as it answers.",
        "No need to reload.",
        refreshes=True,
    ),
    "failed": State(
        502,
        "{name} could not be started",
        "The last attempt failed.",
        "The next commit or launch is another try.",
        tone="bad",
    ),
    "stopped": State(503, "{name} is stopped", "Nobody runs it at the moment.", tone="calm"),
    "refused": State(403, "{name} may not run here", "Policy says no.", tone="bad"),
    "gone": State(410, "{name} is gone", "Its change was closed, so it was cleaned away.", tone="calm"),
    "unknown": State(
        404,
        "Nothing is staged at {name}",
        "Stager has never heard of this address.",
        "Check the spelling, or open a pull request to get one.",
        tone="calm",
    ),
    "unreachable": State(
        502,
        "{name} does not answer",
        "It runs, but it doesn't accept connections.",
        "This page tries again by itself.",
        refreshes=True,
        tone="bad",
    ),
    "garbled": State(
        502,
        "{name} gave a broken answer",
        "What it sent isn't proper HTTP, or it hung up half-way.",
        "Its log should tell more.",
        tone="bad",
    ),
    "silent": State(
        504,
        "{name} took too long",
        "It accepted the request and never answered.",
        "Its log should tell more. `response_timeout` in Stager's configuration gives slow ones more time.",
        tone="bad",
    ),
    "away": State(
        503,
        "Stager is starting or restarting",
        "Previews go on working meanwhile.",
        "This page tries again by itself.",
        refreshes=True,
    ),
}


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page: a state, and what there is to say about it. Empty words are filled in from the state."""

    state: str
    name: str = ""
    app: str = ""
    message: str = ""
    hint: str = ""
    lines: tuple[str, ...] = ()
    url: str = ""

    @classmethod
    def of(cls, page: Page, host: str) -> Sheet:
        """The sheet for a row of the table."""
        return cls(page.state, page.name or host, page.app, page.message, page.hint, page.lines, page.url)

    @property
    def status(self) -> int:
        """The status that it is answered with."""
        return STATES[self.state].status


def respond(sheet: Sheet | Notice, request: RequestHead, request_id: bytes, *, keep: bool) -> bytes:
    """The whole response to `request`: HTML for those who accept it, else problem details (RFC 9457). A
    notice is one sentence for all."""
    if isinstance(sheet, Notice):
        return _notify(sheet, request, request_id, keep=keep)
    html = b"text/html" in request.value(b"accept").lower()
    body = _html(sheet) if html else _problem(sheet)
    headers = {
        "Content-Type": "text/html; charset=utf-8" if html else "application/problem+json",
        "Vary": "Accept",
        "X-Robots-Tag": "noindex",
        "X-Request-Id": request_id.decode("ascii"),
    }
    if STATES[sheet.state].refreshes:
        headers["Retry-After"] = str(_REFRESH)
    if html:
        headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
        )
    head = _head(sheet.status, headers, len(body), keep=keep, minor=request.minor)
    return head if request.method == b"HEAD" else head + body


def refuse(status: int, words: str, headers: dict[str, str] | None = None) -> bytes:
    """The whole answer to a client that we no longer want to listen to."""
    body = f"{words}\n".encode()
    every = {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}
    return _head(status, every, len(body), keep=False, minor=1) + body


def _notify(notice: Notice, request: RequestHead, request_id: bytes, *, keep: bool) -> bytes:
    body = f"{notice.words}\n".encode()
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "X-Robots-Tag": "noindex",
        "X-Request-Id": request_id.decode("ascii"),
        **notice.headers,
    }
    head = _head(notice.status, headers, len(body), keep=keep, minor=request.minor)
    return head if request.method == b"HEAD" else head + body


def _head(status: int, headers: dict[str, str], length: int, *, keep: bool, minor: int) -> bytes:
    every = {
        "Date": formatdate(usegmt=True),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        **headers,
        "Content-Length": str(length),
    }
    if not keep:
        every["Connection"] = "close"
    elif minor == 0:
        every["Connection"] = "keep-alive"
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *(f"{name}: {value}" for name, value in every.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _words(sheet: Sheet) -> tuple[str, str, str]:
    state = STATES[sheet.state]
    title = state.title.replace("{name}", sheet.name or "This preview")
    return title, sheet.message or state.message, sheet.hint or state.hint


def _problem(sheet: Sheet) -> bytes:
    title, message, hint = _words(sheet)
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(sheet.status).phrase,
        "status": sheet.status,
        "detail": f"{title}. {message}",
        "state": sheet.state,
        "name": sheet.name,
        "app": sheet.app,
        "hint": hint,
        "lines": list(sheet.lines),
    }
    if sheet.url:
        problem["url"] = sheet.url
    return json.dumps(problem, ensure_ascii=False, indent=2).encode() + b"\n"


def _html(sheet: Sheet) -> bytes:
    state = STATES[sheet.state]
    title, message, hint = _words(sheet)
    page = _TEMPLATE.substitute(
        refresh=f'<meta http-equiv="refresh" content="{_REFRESH}">' if state.refreshes else "",
        title=escape(title),
        tone=state.tone,
        app=f'<p class="app">{escape(sheet.app)}</p>' if sheet.app else "",
        message=with_code(escape(message)),
        hint=f'<p class="hint">{with_code(escape(hint))}</p>' if hint else "",
        lines=_log(sheet.lines),
        link=_link(sheet.url),
        status=state.status,
        state=escape(sheet.state),
    )
    return page.encode()


def _log(lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    title, text = "The last lines of its log", escape("\n".join(lines))
    # Reversed, so that a browser shows its end first, which tells most; without a script.
    return f'<h2>{title}</h2><div class="log" tabindex="0" aria-label="{title}"><pre>{text}</pre></div>'


def _link(url: str) -> str:
    """Only web addresses: a `javascript:` one would run here."""
    if not url.startswith(("https://", "http://")):
        return ""
    return f'<p><a href="{escape(url)}" rel="noreferrer">Read more</a></p>'
