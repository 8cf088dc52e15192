"""Whether a request comes from a page of ours, as browsers tell it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from starlette.types import Scope

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""Of an ASGI server's scope, and of the page that it speaks with."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


BEHIND_TLS = (
    "Behind a proxy with TLS set `scheme: https`, or have the proxy send X-Forwarded-Proto and name it in"
    " `trusted_proxies`."
)


def is_foreign(scope: Scope) -> bool:
    """Whether a page of another origin sends it: of another scheme, host or port (RFC 6454, section 4).
    Clients that aren't browsers say nothing of it."""
    headers = _headers(scope)
    origin = headers.get(b"origin")
    return origin is not None and origin not in _origins(scope, headers)


def _origins(scope: Scope, headers: Mapping[bytes, str]) -> Iterator[str]:
    """Those that pages of ours have at this host: by the scheme that the request came with, as the front has
    it from whoever asked or from a proxy that it trusts; and the one that the configuration says, for a proxy
    that doesn't tell."""
    host = headers.get(b"host", "")
    told = headers.get(b"x-forwarded-proto", "").rpartition(",")[2].strip()
    yield f"{told or _SCHEMES.get(scope.get('scheme', ''), 'http')}://{host}"
    control = getattr(scope["app"].state, "control_plane", None) if "app" in scope else None
    if control is not None and control.routing.urls.home.partition("://")[2] == host:
        yield control.routing.urls.home


def is_ours(scope: Scope) -> bool:
    """Whether it certainly is a page of ours that sends it: only then may what changes something go by a
    cookie (OWASP, Cross-Site Request Forgery Prevention). Browsers say so of every form and script."""
    headers = _headers(scope)
    if b"origin" in headers:
        return not is_foreign(scope)
    return headers.get(b"sec-fetch-site") == "same-origin"


def is_from_elsewhere(scope: Scope) -> bool:
    """Whether a page that isn't ours has a browser send it, a link in it included (Fetch Metadata, section
    2.3). A preview's page is of our site in the browser's eyes, and not ours either."""
    site = _headers(scope).get(b"sec-fetch-site")
    return site is not None and site not in ("same-origin", "none")


def _headers(scope: Scope) -> Mapping[bytes, str]:
    return {name: value.decode("latin-1") for name, value in scope["headers"]}
