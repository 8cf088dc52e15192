"""Proves that a delivery comes from GitHub, over its raw bytes and before anything of it is parsed.

What the headers can tell is told before the body is read. Our own, because gidgethub's check fails with a
TypeError on a signature that isn't ASCII, and wants the whole body.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stager.domain.errors import Refused

STRONG, WEAK = "x-hub-signature-256", "x-hub-signature"
"""The headers that may have a signature (GitHub docs, Validating webhook deliveries). The weaker one counts
only in the absence of the stronger: otherwise whoever can forge the weaker had only to spoil the stronger."""

_FORM = re.compile(r"sha256=[0-9a-f]{64}|sha1=[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Given:
    """The signature that a delivery brings.

    Args:
        algorithm: `sha256` or `sha1`.
        text: the header's value, which begins with the algorithm.
    """

    algorithm: str
    text: str


def given_in(headers: Mapping[str, str], *, sha1: bool) -> Given:
    """The signature that these headers bring.

    Args:
        headers: with lower-case names.
        sha1: whether one with SHA-1 is accepted where there is no other.

    Raises:
        Refused: 401, `signature-missing`, `signature-weak` or, where no body could fit it, `signature-wrong`.
    """
    header = next((name for name in (STRONG, WEAK) if name in headers), None)
    if header is None:
        raise _unauthorized(
            "signature-missing",
            "The delivery isn't signed.",
            "Give the webhook on GitHub a secret, the one of `github.incoming_auth.hook_secret`.",
        )
    if header == WEAK and not sha1:
        raise _unauthorized(
            "signature-weak",
            "The delivery is signed with SHA-1 only, in X-Hub-Signature; X-Hub-Signature-256 is missing.",
            "GitHub sends both. For a sender that can't, `github.incoming_auth.allow_sha1: true` accepts it.",
        )
    algorithm = "sha256" if header == STRONG else "sha1"
    if not headers[header].startswith(f"{algorithm}=") or _FORM.fullmatch(headers[header]) is None:
        raise wrong()
    return Given(algorithm, headers[header])


class Digests:
    """What a body's signature would be with each of some secrets.

    Args:
        secrets: an empty one is none.
    """

    def __init__(self, given: Given, secrets: Iterable[bytes]) -> None:
        self._given = given
        self._macs = [hmac.new(secret, b"", given.algorithm) for secret in secrets if secret]

    def update(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        for mac in self._macs:
            mac.update(piece)

    def fit(self) -> bool:
        """Whether what came by now was signed with one of the secrets."""
        expected = [f"{self._given.algorithm}={mac.hexdigest()}" for mac in self._macs]
        return any(_same(self._given.text, one) for one in expected)


def demand_a_secret(*secrets: bytes) -> None:
    """Return if one of these isn't empty. Raises `Refused` (401, `secret-not-configured`)."""
    if not any(secrets):
        raise _unauthorized(
            "secret-not-configured",
            "Webhooks are refused because no secret is configured to check them with.",
            "Set `github.incoming_auth.hook_secret` to the secret of the webhook on GitHub.",
        )


def wrong() -> Refused:
    """What a delivery is answered whose signature isn't that of its body."""
    return _unauthorized(
        "signature-wrong",
        "The delivery's signature doesn't fit its body.",
        "The webhook's secret on GitHub and `github.incoming_auth.hook_secret` must be the same.",
    )


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
