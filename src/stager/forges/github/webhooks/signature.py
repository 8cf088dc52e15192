"""Verifies the signatures of GitHub's deliveries, over the raw bytes and before parsing.

The headers are checked before the body is read. gidgethub's check isn't used: it fails with a TypeError on
signatures that aren't ASCII, and needs the whole body.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stager.domain.errors import Refused

STRONG, WEAK = "x-hub-signature-256", "x-hub-signature"
"""The signature headers (GitHub docs, Validating webhook deliveries). The weak one counts only without the
strong one: otherwise, forging the weak one and spoiling the strong one would be enough."""

_FORM = re.compile(r"sha256=[0-9a-f]{64}|sha1=[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Given:
    """The signature of a delivery.

    Args:
        algorithm: `sha256` or `sha1`.
        text: the header's value, which begins with the algorithm.
    """

    algorithm: str
    text: str


def given_in(headers: Mapping[str, str], *, sha1: bool) -> Given:
    """The signature in these headers.

    Args:
        headers: with lower-case names.
        sha1: whether a SHA-1 signature is accepted if there is no other.

    Raises:
        Refused: 401, `signature-missing`, `signature-weak` or, for an invalid format, `signature-wrong`.
    """
    header = next((name for name in (STRONG, WEAK) if name in headers), None)
    if header is None:
        raise _unauthorized(
            "signature-missing",
            "The delivery isn't signed.",
            "Set the secret of the webhook on GitHub to `github.incoming_auth.hook_secret`.",
        )
    if header == WEAK and not sha1:
        raise _unauthorized(
            "signature-weak",
            "The delivery is signed with SHA-1 only, in X-Hub-Signature; X-Hub-Signature-256 is missing.",
            "GitHub sends both. For other senders, `github.incoming_auth.allow_sha1: true` accepts SHA-1.",
        )
    algorithm = "sha256" if header == STRONG else "sha1"
    if not headers[header].startswith(f"{algorithm}=") or _FORM.fullmatch(headers[header]) is None:
        raise wrong()
    return Given(algorithm, headers[header])


class Digests:
    """Digests of a body with each of several secrets.

    Args:
        secrets: empty ones are ignored.
    """

    def __init__(self, given: Given, secrets: Iterable[bytes]) -> None:
        self._given = given
        self._macs = [hmac.new(secret, b"", given.algorithm) for secret in secrets if secret]

    def update(self, piece: bytes) -> None:
        """Add the next piece of the body."""
        for mac in self._macs:
            mac.update(piece)

    def fit(self) -> bool:
        """Whether the body so far was signed with one of the secrets."""
        expected = [f"{self._given.algorithm}={mac.hexdigest()}" for mac in self._macs]
        return any(_same(self._given.text, one) for one in expected)


def demand_a_secret(*secrets: bytes) -> None:
    """Check that one of these isn't empty. Raises `Refused` (401, `secret-not-configured`)."""
    if not any(secrets):
        raise _unauthorized(
            "secret-not-configured",
            "No webhook secret is configured, so all deliveries are refused.",
            "Set `github.incoming_auth.hook_secret` to the secret of the webhook on GitHub.",
        )


def wrong() -> Refused:
    """The error for a signature that doesn't match the body."""
    return _unauthorized(
        "signature-wrong",
        "The delivery's signature doesn't match its body.",
        "The webhook's secret on GitHub and `github.incoming_auth.hook_secret` must be equal.",
    )


def verify_credentials(user: str, password: str, headers: Mapping[str, str]) -> None:
    """Check the delivery's Basic credentials; if both are empty, none are required.

    GitHub sends them when the webhook's URL has the form `https://user:password@host/...`.

    Raises:
        Refused: 401, `credentials-missing` or `credentials-wrong`.
    """
    if not user and not password:
        return
    hint = "The webhook's URL must contain the user and password of `github.incoming_auth`."
    if "authorization" not in headers:
        raise _unauthorized("credentials-missing", "The delivery has no credentials.", hint)
    scheme, _, token = headers["authorization"].partition(" ")
    expected = base64.b64encode(f"{user}:{password}".encode()).decode()
    if scheme.lower() != "basic" or not _same(token.strip(), expected):
        raise _unauthorized("credentials-wrong", "The delivery's credentials are wrong.", hint)


def _same(given: str, expected: str) -> bool:
    """Compares bytes: `compare_digest` raises for text that isn't ASCII."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _unauthorized(reason: str, message: str, hint: str) -> Refused:
    return Refused(message, hint=hint, reason=reason, status=401)
