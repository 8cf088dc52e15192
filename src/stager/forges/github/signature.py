"""Proves that a delivery comes from GitHub, over its raw bytes and before anything of it is parsed.

Our own, because gidgethub's check fails with a TypeError on a signature that isn't ASCII.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence

from stager.domain.errors import Refused

SIGNATURES = {"x-hub-signature-256": "sha256", "x-hub-signature": "sha1"}
"""The headers that may bear a signature, strongest first. A weaker one counts only in the absence of the
stronger: otherwise whoever can forge the weaker had only to spoil the stronger."""


def verify(secret: bytes, headers: Mapping[str, str], body: bytes, *, also_known: bool = False) -> None:
    """Return if `body` was signed with `secret`.

    Args:
        secret: the webhook's secret; nothing is right while it is empty.
        headers: with lower-case names.
        body: as received; JSON that was read and written again has another signature.
        also_known: whether there are other secrets, whose signature this isn't.

    Raises:
        Refused: 401, `secret-not-configured`, `signature-missing` or `signature-wrong`.
    """
    if not secret and not also_known:
        raise _unauthorized(
            "secret-not-configured",
            "Webhooks are refused because no secret is configured to check them with.",
            "Set `github.incoming_auth.hook_secret` to the secret of the webhook on GitHub.",
        )
    if not any(name in headers for name in SIGNATURES):
        raise _unauthorized(
            "signature-missing",
            "The delivery isn't signed.",
            "Give the webhook on GitHub a secret, the one of `github.incoming_auth.hook_secret`.",
        )
    if not fits([secret], headers, body):
        raise _unauthorized(
            "signature-wrong",
            "The delivery's signature doesn't fit its body.",
            "The webhook's secret on GitHub and `github.incoming_auth.hook_secret` must be the same.",
        )


def fits(secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes) -> bool:
    """Whether `body` was signed with one of these; an empty one is none."""
    header = next((name for name in SIGNATURES if name in headers), None)
    if header is None:
        return False
    algorithm = SIGNATURES[header]
    expected = [f"{algorithm}={hmac.new(s, body, algorithm).hexdigest()}" for s in secrets if s]
    return any(_same(headers[header], one) for one in expected)


def verify_credentials(user: str, password: str, headers: Mapping[str, str]) -> None:
    """Return if the delivery's Basic credentials are these, or if both are empty: then none are demanded.

    GitHub sends them when the webhook's URL has the form `https://user:password@host/...`.

    Raises:
        Refused: 401, `credentials-missing` or `credentials-wrong`.
    """
    if not user and not password:
        return
    hint = "The webhook's URL must contain `github.incoming_auth`'s user and password."
    if "authorization" not in headers:
        raise _unauthorized("credentials-missing", "The delivery came without credentials.", hint)
    scheme, _, token = headers["authorization"].partition(" ")
    expected = base64.b64encode(f"{user}:{password}".encode()).decode()
    if scheme.lower() != "basic" or not _same(token.strip(), expected):
        raise _unauthorized("credentials-wrong", "The delivery's credentials are wrong.", hint)


def _same(given: str, expected: str) -> bool:
    """Compares bytes: on text that isn't ASCII, `compare_digest` raises."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _unauthorized(reason: str, message: str, hint: str) -> Refused:
    return Refused(message, hint=hint, reason=reason, status=401)
