"""Our own cookies: the session's, and one by which a browser is known that was sent away to sign in.

Over HTTPS their names begin with `__Host-`, so that no preview on a subdomain can set them (RFC 6265bis,
4.1.3.2).
"""

from __future__ import annotations

from fastapi import Request, Response

SESSION = "stager-session"
SIGN_IN = "stager-sign-in"
PREFIX = "__Host-"


def name_of(cookie: str, *, secure: bool) -> str:
    """The cookie's full name."""
    return f"{PREFIX}{cookie}" if secure else cookie


def read(request: Request, cookie: str, *, secure: bool) -> str:
    """The cookie's value; empty where there is none, and where there are two of its name: then another host
    has put one beside ours, and nobody can tell which is which."""
    wanted = name_of(cookie, secure=secure)
    pairs = (
        pair.strip().partition("=")
        for header in request.headers.getlist("cookie")
        for pair in header.split(";")
    )
    values = [value for name, _, value in pairs if name.strip() == wanted]
    return values[0].strip() if len(values) == 1 else ""


def give(response: Response, cookie: str, value: str, *, secure: bool, seconds: float | None = None) -> None:
    """Have the browser keep it: for our host alone, for no script, and not for what other sites post.

    Args:
        seconds: None for as long as the browser runs.
    """
    response.set_cookie(
        name_of(cookie, secure=secure),
        value,
        max_age=None if seconds is None else int(seconds),
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",  # the provider sends the browser back, and the cookie must come along
    )


def take(response: Response, cookie: str, *, secure: bool) -> None:
    """Have the browser forget it."""
    response.delete_cookie(
        name_of(cookie, secure=secure), path="/", secure=secure, httponly=True, samesite="lax"
    )
