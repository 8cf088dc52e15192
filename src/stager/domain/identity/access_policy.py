"""Access to private previews: the configured rules, the policy that the front enforces on each request, and
the signed tokens of admitted visitors.

Pure. The control plane creates grants and share links; the front exchanges them for access tokens and
verifies those. Both use the same key. A token contains its kind, how its bearer was admitted, its expiry and
its epoch, and is signed together with the host (HMAC-SHA256, RFC 2104).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from stager.domain.identity.roles import Role

Way = Literal["sign-in", "password", "link", "bypass"]
TokenKind = Literal["access", "grant", "link"]
"""An access token is the cookie of an admitted visitor. A grant can be exchanged for one within seconds, a
share link until it expires."""

WAYS: tuple[Way, ...] = get_args(Way)
ACCESS_PATH = "/.well-known/stager/access"
"""The path on a preview's host at which the front exchanges a grant for an access token (RFC 8615)."""
SHARE_PARAMETER, BYPASS_PARAMETER = "stager_share", "stager_bypass"
GRANT_SECONDS = 60
MAX_TOKEN = 512
MAX_PATH = 4096

_VERSION = "1"
_PATH = re.compile(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?")


@dataclass(frozen=True, slots=True)
class Privacy:
    """The configured access rules of an application's previews.

    Args:
        ways: the allowed ways to gain access.
        password: the password of the way `password`.
        bypass_token: the token of the way `bypass`; every bearer gains access.
        stay: seconds until an access token expires.
        viewers: the minimum role for the way `sign-in`.
    """

    ways: frozenset[Way]
    password: str = field(default="", repr=False)
    bypass_token: str = field(default="", repr=False)
    stay: int = 43_200
    viewers: Role = Role.VIEWER


@dataclass(frozen=True, slots=True)
class AccessToken:
    """The content of a token.

    Args:
        host: the host for which it is valid.
        way: how its bearer gained access.
        expires: seconds since 1970; the first moment at which it is invalid.
        epoch: the guard's epoch when it was issued.
        subject: the bearer: a share link's id, a user's name, or empty.
    """

    host: str
    way: Way
    expires: int
    epoch: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Guard:
    """The access rules of a private preview, as the front enforces them.

    Args:
        ways: the allowed ways to gain access.
        epoch: tokens of other epochs are invalid, except those of share links.
        page: the URL of Stager's login page.
        stay: seconds until an access token expires.
        bypass: the digest of the bypass token, see `digest_of`; empty if there is none.
        links: the ids of the valid share links.
        hosts: all hosts of the preview, its own first.
        domain: the domain of all previews; empty if it is unknown.
    """

    ways: frozenset[Way]
    epoch: str
    page: str
    stay: int = 43_200
    bypass: str = ""
    links: frozenset[str] = frozenset()
    hosts: tuple[str, ...] = ()
    domain: str = ""

    def admits(self, visitor: AccessToken) -> bool:
        """Whether a verified token grants access here."""
        if visitor.way not in self.ways:
            return False
        # A share link is valid while it is listed, even if the password changes.
        return visitor.subject in self.links if visitor.way == "link" else visitor.epoch == self.epoch

    def is_bypassed_by(self, token: str) -> bool:
        """Whether this is the bypass token. The comparison takes constant time."""
        return "bypass" in self.ways and bool(self.bypass) and same(digest_of(token), self.bypass)


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Who may see a host's preview, and whether search engines may index it. The default policy, which route
    tables leave out, is: everybody, no index.

    Args:
        guard: the access rules; None if the preview is public.
        index: whether search engines may list it.
    """

    guard: Guard | None = None
    index: bool = False


def digest_of(secret: str) -> str:
    """Return the SHA-256 digest in hex. Only for random secrets: a digest of a weak one can be guessed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def same(one: str, other: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def epoch_of(privacy: Privacy, environment: str, key: bytes) -> str:
    """Return the epoch of an environment's guard, which changes with the secrets of its application."""
    parts = (environment, privacy.password, privacy.bypass_token)
    text = "\0".join(f"{len(part)}:{part}" for part in parts)
    return hmac.digest(key, b"epoch\0" + text.encode("utf-8", "surrogatepass"), "sha256").hex()[:16]


def sign_token(visitor: AccessToken, kind: TokenKind, key: bytes) -> str:
    """Create a signed token, in characters that are allowed in URLs and cookies."""
    subject = base64.urlsafe_b64encode(visitor.subject.encode()).decode().rstrip("=")
    text = f"{_VERSION}.{kind}.{visitor.expires}.{visitor.way}.{visitor.epoch}.{subject}"
    return f"{text}.{_signature_of(text, visitor.host, key)}"


def verify_token(token: str, kind: TokenKind, host: str, key: bytes, now: float) -> AccessToken | None:
    """Verify a token; returns its content, or None if it isn't a valid token of this kind for this host.

    Args:
        token: the token, from an untrusted source.
        kind: the expected kind.
        host: the host of the request.
        key: the signing key.
        now: seconds since 1970.
    """
    if len(token) > MAX_TOKEN or not token.isascii():
        return None
    text, _, sealed = token.rpartition(".")
    # Nothing of it is parsed before its signature is verified.
    if not hmac.compare_digest(sealed, _signature_of(text, host, key)):
        return None
    try:
        version, found_kind, expires, way, epoch, subject = text.split(".")
        found = AccessToken(host, cast("Way", way), int(expires), epoch, _plain(subject))
    except ValueError:
        return None
    return found if (version, found_kind) == (_VERSION, kind) and found.expires > now else None


def safe_path(text: str) -> str:
    """Return the path with its query if it is on the same host; otherwise the root.

    Browsers treat `//host` and `/\\host` as another host, and drop tabs and line ends first (WHATWG
    URL Standard, section 4.4).
    """
    return text if len(text) <= MAX_PATH and _PATH.fullmatch(text) else "/"


def policy_to_wire(policy: AccessPolicy) -> dict[str, Any]:
    """Convert a policy to plain JSON types."""
    guard = policy.guard
    if guard is None:
        return {"index": policy.index}
    return {
        "index": policy.index,
        "guard": {
            "ways": sorted(guard.ways),
            "epoch": guard.epoch,
            "page": guard.page,
            "stay": guard.stay,
            "bypass": guard.bypass,
            "links": sorted(guard.links),
            "hosts": list(guard.hosts),
            "domain": guard.domain,
        },
    }


def policy_from_wire(data: Mapping[str, Any]) -> AccessPolicy:
    """Read the output of `policy_to_wire`. Raises KeyError, ValueError or TypeError on anything else."""
    index = bool(data["index"])
    if "guard" not in data:
        return AccessPolicy(None, index)
    wire = data["guard"]
    ways = frozenset(wire["ways"])
    if not ways <= set(WAYS):
        raise ValueError(f"unknown way: {', '.join(map(str, ways - set(WAYS)))}")
    links = frozenset(str(link) for link in wire["links"])
    guard = Guard(
        ways,
        str(wire["epoch"]),
        str(wire["page"]),
        int(wire["stay"]),
        str(wire["bypass"]),
        links,
        tuple(str(host) for host in wire["hosts"]),
        str(wire["domain"]),
    )
    return AccessPolicy(guard, index)


def _signature_of(text: str, host: str, key: bytes) -> str:
    message = f"stager access\0{host}\0{text}".encode()
    return base64.urlsafe_b64encode(hmac.digest(key, message, "sha256")).decode().rstrip("=")


def _plain(subject: str) -> str:
    return base64.urlsafe_b64decode(subject + "=" * (-len(subject) % 4)).decode()
