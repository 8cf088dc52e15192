"""Verification of ID tokens (OpenID Connect Core 1.0, 3.1.3.7), with Authlib's claims and joserfc's
signatures.

`provider` calls this with the keys that it has fetched. Imported at the first sign-in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet
from joserfc.jws import JWSRegistry

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "Ed25519"),
)
"""Asymmetric algorithms only. `none` needs no key, and with HS256 the public key could be used as a shared
secret (RFC 8725, 2.1)."""
KINDS = frozenset({"RSA", "EC", "OKP"})
LEEWAY = 60
"""Allowed clock skew in seconds."""
MOST_KEYS = 100
SHORTEST_MODULUS = 342
"""Length of 2048 bits in base64url; shorter RSA keys are rejected (NIST SP 800-131A)."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected claims of an ID token.

    Args:
        issuer: the exact issuer.
        client: the client id, as audience.
        nonce: of the authorization request.
        access_token: from the same response; compared with `at_hash` if the token has one.
    """

    issuer: str
    client: str
    nonce: str
    access_token: str = ""


class InvalidTokenError(Exception):
    """Why an ID token is invalid, without any of its content."""


class UnknownKeyError(InvalidTokenError):
    """The ID token is signed with an unknown key."""


def keys_in(document: Mapping[str, Any]) -> KeySet:
    """The usable signing keys in a provider's key set (RFC 7517, 5). Unknown types, shared secrets and short
    keys are left out."""
    listed = document.get("keys")
    return KeySet(list(_usable(listed[:MOST_KEYS] if isinstance(listed, list) else [])))


def verified(token: object, keys: KeySet, expected: Expected, now: float) -> dict[str, Any]:
    """Verify an ID token and return its claims.

    Args:
        now: the time, in seconds since 1970.

    Raises:
        InvalidTokenError: it is invalid.
    """
    if not isinstance(token, str):
        raise InvalidTokenError("the response has no ID token")
    try:
        found = jwt.decode(
            token, keys, registry=JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        )
        claims = CodeIDToken(found.claims, found.header, _options(expected), _parameters(expected))
        claims.validate(now=int(now), leeway=LEEWAY)
    except InvalidKeyIdError:
        raise UnknownKeyError("it is signed with a key that the provider doesn't publish") from None
    except ExpiredTokenError:
        raise InvalidTokenError("it has expired; check the clocks") from None
    except JoseError as error:
        raise InvalidTokenError(_described(error)) from None
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise InvalidTokenError(f"it can't be parsed, {type(error).__name__}") from None
    if not 0 < len(claims["sub"]) <= 255:
        raise InvalidTokenError("its subject is empty or too long")
    return dict(claims)


def _usable(listed: list[Any]) -> Iterator[Key]:
    for each in listed:
        if not isinstance(each, dict) or each.get("kty") not in KINDS or each.get("use", "sig") != "sig":
            continue
        if each["kty"] == "RSA" and len(str(each.get("n"))) < SHORTEST_MODULUS:
            continue
        try:
            yield JWKRegistry.import_key(each)
        except (JoseError, ValueError, TypeError, LookupError):
            continue


def _options(expected: Expected) -> dict[str, Any]:
    return {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client},
    }


def _parameters(expected: Expected) -> dict[str, Any]:
    if not expected.nonce:
        raise InvalidTokenError("the request had no nonce")
    return {"nonce": expected.nonce, "client_id": expected.client, "access_token": expected.access_token}


def _described(error: JoseError) -> str:
    """The error with the claim's name, such as `invalid claim aud`, but without values."""
    claim = getattr(error, "claim", "")
    return f"{error.error.replace('_', ' ')} {claim}".strip()
