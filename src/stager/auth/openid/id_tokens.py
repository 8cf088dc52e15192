"""ID tokens: whether what a provider says of somebody is true, without asking anybody.

By OpenID Connect Core 1.0, 3.1.3.7, with Authlib's claims and the library that it recommends for signatures.
`provider` calls it with the keys that it has fetched. Loaded when somebody signs in.
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
"""All by key pairs. With `none` anybody could sign, and with HS256 whoever knows the public key, if it were
taken for a shared one (RFC 8725, 2.1)."""
KINDS = frozenset({"RSA", "EC", "OKP"})
LEEWAY = 60
"""Seconds by which our clock and the provider's may differ."""
MOST_KEYS = 100
SHORTEST_MODULUS = 342
"""Characters that 2048 bits take in base64url: shorter RSA keys aren't believed (NIST SP 800-131A)."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an ID token must say.

    Args:
        issuer: who made it, exactly.
        client: whom it is for.
        nonce: that of the request.
        access_token: what came with it; it is compared with `at_hash`, where that is given.
    """

    issuer: str
    client: str
    nonce: str
    access_token: str = ""


class UntrueError(Exception):
    """Why an ID token isn't believed, in a few words without anything out of it."""


class UnknownKeyError(UntrueError):
    """It is signed by a key that isn't among those we have."""


def keys_in(document: Mapping[str, Any]) -> KeySet:
    """The keys that may sign, out of what a provider publishes (RFC 7517, 5). What isn't understood is left
    out, as are shared secrets and what is too short."""
    listed = document.get("keys")
    return KeySet(list(_usable(listed[:MOST_KEYS] if isinstance(listed, list) else [])))


def verified(token: object, keys: KeySet, expected: Expected, now: float) -> dict[str, Any]:
    """The claims of an ID token.

    Args:
        now: the time, in seconds since 1970.

    Raises:
        UntrueError: it isn't to be believed.
    """
    if not isinstance(token, str):
        raise UntrueError("there is no ID token")
    try:
        found = jwt.decode(
            token, keys, registry=JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        )
        claims = CodeIDToken(found.claims, found.header, _options(expected), _parameters(expected))
        claims.validate(now=int(now), leeway=LEEWAY)
    except InvalidKeyIdError:
        raise UnknownKeyError("it is signed by a key that isn't published") from None
    except ExpiredTokenError:
        raise UntrueError("it has expired; are the clocks right?") from None
    except JoseError as error:
        raise UntrueError(_in_words(error)) from None
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise UntrueError(f"it can't be read, {type(error).__name__}") from None
    if not 0 < len(claims["sub"]) <= 255:
        raise UntrueError("it names nobody")
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
        raise UntrueError("nobody asked for it")
    return {"nonce": expected.nonce, "client_id": expected.client, "access_token": expected.access_token}


def _in_words(error: JoseError) -> str:
    """`invalid claim aud`: what is wrong, and nothing of what the token says."""
    claim = getattr(error, "claim", "")
    return f"{error.error.replace('_', ' ')} {claim}".strip()
