"""The responses of the front itself, as bytes: error pages and plain text."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from stager.front.http.head import RequestHead
from stager.front.proxy.error_pages import ErrorPage
from stager.front.proxy.page_html import POLICY, html

_SAFE = frozenset({b"GET", b"HEAD"})


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
    body, headers = _plain(response) if isinstance(response, PlainResponse) else _page(response, request)
    headers = {"X-Robots-Tag": "noindex", "X-Request-Id": request_id.decode("ascii"), **headers}
    head = _head(response.status, headers, len(body), keep=keep, minor=request.minor)
    return head if request.method == b"HEAD" else head + body


def refuse(status: int, message: str, headers: dict[str, str] | None = None) -> bytes:
    """Return the whole response to a request that couldn't be read; it closes the connection."""
    body = f"{message}\n".encode()
    headers = {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}
    return _head(status, headers, len(body), keep=False, minor=1) + body


def _page(page: ErrorPage, request: RequestHead) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of an error page. The page of a request that may change something doesn't
    refresh itself: that would repeat the request without its body."""
    headers = {"Vary": "Accept", "X-Stager-State": page.state}
    if page.template.is_temporary:
        headers["Retry-After"] = str(page.template.refresh)
    if b"text/html" not in request.value(b"accept").lower():
        return _problem(page), {"Content-Type": "application/problem+json", **headers}
    body = html(page, time.time(), refreshes=page.template.follows and request.method in _SAFE)
    return body, {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY, **headers}


def _problem(page: ErrorPage) -> bytes:
    details, message = page.details, page.message or page.template.lead
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(page.status).phrase,
        "status": page.status,
        "detail": f"{page.title}. {message}",
        "state": page.state,
        "name": page.name,
        "app": details.app,
        "reason": details.reason,
        "stage": details.stage,
        "place": details.place,
        "hint": details.hint or page.template.technical or page.template.hint,
        "lines": list(details.lines),
        "findings": list(details.findings),
        "url": details.url,
        "log_url": details.log_url,
    }
    optional = ("reason", "stage", "place", "findings", "url", "log_url")
    shown = {name: value for name, value in problem.items() if value or name not in optional}
    return json.dumps(shown, ensure_ascii=False, indent=2).encode() + b"\n"


def _plain(response: PlainResponse) -> tuple[bytes, dict[str, str]]:
    headers = {"Content-Type": "text/plain; charset=utf-8", **response.headers}
    return f"{response.text}\n".encode(), headers


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
