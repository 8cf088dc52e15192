"""Whether a request comes from a page of ours, as browsers tell it."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Scope

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def is_foreign(scope: Scope) -> bool:
    """Whether a page of another origin sends it. Clients that aren't browsers say nothing of it."""
    headers = _headers(scope)
    origin = headers.get(b"origin")
    return origin is not None and origin.partition("://")[2] != headers.get(b"host")


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
