"""Secrets that we give out: long enough that nobody guesses one, and kept as digests only."""

from __future__ import annotations

import hashlib
import secrets

BITS = 256


def new_secret(prefix: str = "") -> str:
    """A secret that is good in URLs, headers and cookies.

    Args:
        prefix: tells people, and scanners of leaked secrets, what it is.
    """
    return prefix + secrets.token_urlsafe(BITS // 8)


def digest_of(secret: str) -> str:
    """By which it is found again. It is random and long, so a fast digest is as good as a slow one."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
