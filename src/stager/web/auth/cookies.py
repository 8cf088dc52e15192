"""Stager's cookies: the session, and one that identifies a browser during a sign-in at a provider.

Over HTTPS, their names start with `__Host-`, so previews on subdomains can't set them (RFC 6265bis, 4.1.3.2).
"""

from __future__ import annotations

from fastapi import Request, Response

SESSION = "stager-session"
SIGN_IN = "stager-sign-in"
PREFIX = "__Host-"


def name_of(cookie: str, *, secure: bool) -> str:
    """Return the cookie's full name."""
    return f"{PREFIX}{cookie}" if secure else cookie


def read(request: Request, cookie: str, *, secure: bool) -> str:
    """Return the cookie's value; empty when there is none, or several of this name: then another host has set
    one, and they can't be distinguished."""
    full_name = name_of(cookie, secure=secure)
    pairs = (
        pair.strip().partition("=")
        for header in request.headers.getlist("cookie")
        for pair in header.split(";")
    )
    values = [value for name, _, value in pairs if name.strip() == full_name]
    return values[0].strip() if len(values) == 1 else ""


def set_cookie(
    response: Response, cookie: str, value: str, *, secure: bool, seconds: float | None = None
) -> None:
    """Set a cookie for this host only, hidden from scripts, and not sent with cross-site POST requests.

    Args:
        seconds: lifetime; None: until the browser is closed.
    """
    response.set_cookie(
        name_of(cookie, secure=secure),
        value,
        max_age=None if seconds is None else int(seconds),
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",  # needed when the provider redirects the browser back
    )


def delete_cookie(response: Response, cookie: str, *, secure: bool) -> None:
    """Delete a cookie."""
    response.delete_cookie(
        name_of(cookie, secure=secure), path="/", secure=secure, httponly=True, samesite="lax"
    )
