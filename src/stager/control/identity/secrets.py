"""Generates secrets for sessions, tokens and sign-ins. They have 256 random bits, so a fast digest is safe to
store."""

from __future__ import annotations

import secrets

BITS = 256


def new_secret(prefix: str = "") -> str:
    """Return a new secret that can be used in URLs, headers and cookies.

    Args:
        prefix: identifies the kind of secret for people and for secret scanners.
    """
    return prefix + secrets.token_urlsafe(BITS // 8)
