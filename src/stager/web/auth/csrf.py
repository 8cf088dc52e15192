"""CSRF protection: whether a request comes from one of Stager's own pages, by the headers of browsers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from starlette.types import Scope

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""The scheme of the page, by the scheme in the ASGI scope."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


BEHIND_TLS = (
    "Behind a TLS proxy, set `scheme: https`, or have the proxy send X-Forwarded-Proto and add it to"
    " `trusted_proxies`."
)


def is_cross_origin(scope: Scope) -> bool:
    """Whether a page with another scheme, host or port sends the request (RFC 6454, section 4). Other clients
    than browsers send no Origin."""
    headers = _headers(scope)
    origin = headers.get(b"origin")
    return origin is not None and origin not in _origins(scope, headers)


def _origins(scope: Scope, headers: Mapping[bytes, str]) -> Iterator[str]:
    """Yield the origins of Stager's own pages at this host: with the request's scheme, as the front
    determined it from the client or a trusted proxy, and the configured one, for a proxy that doesn't forward
    the scheme."""
    host = headers.get(b"host", "")
    scheme = headers.get(b"x-forwarded-proto", "").rpartition(",")[2].strip()
    yield f"{scheme or _SCHEMES.get(scope.get('scheme', ''), 'http')}://{host}"
    control = getattr(scope["app"].state, "control_plane", None) if "app" in scope else None
    if control is not None and control.routing.urls.home.partition("://")[2] == host:
        yield control.routing.urls.home


def is_same_origin(scope: Scope) -> bool:
    """Whether one of Stager's own pages certainly sends the request. Requests that change something are
    authenticated by a cookie only then (OWASP, Cross-Site Request Forgery Prevention)."""
    headers = _headers(scope)
    if b"origin" in headers:
        return not is_cross_origin(scope)
    return headers.get(b"sec-fetch-site") == "same-origin"


def is_cross_site_request(scope: Scope) -> bool:
    """Whether a page of another origin makes a browser send the request, also by a link (Fetch Metadata,
    section 2.3). That includes the pages of previews, which are the same site."""
    site = _headers(scope).get(b"sec-fetch-site")
    return site is not None and site not in ("same-origin", "none")


def _headers(scope: Scope) -> Mapping[bytes, str]:
    return {name: value.decode("latin-1") for name, value in scope["headers"]}
