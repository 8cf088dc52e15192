"""Secrets that we give out: long enough that nobody guesses one, and so kept as fast digests only, by which
they are found again."""

from __future__ import annotations

import secrets

BITS = 256


def new_secret(prefix: str = "") -> str:
    """A secret that is good in URLs, headers and cookies.

    Args:
        prefix: tells people, and scanners of leaked secrets, what it is.
    """
    return prefix + secrets.token_urlsafe(BITS // 8)
