"""Who may see a preview: what the configuration asks, what the front checks on every request, and the signed
tokens by which a visitor who was let in is known again.

Pure. The control plane makes grants and links, the front turns them into passes and checks those; both read
the same key. What a token is good for stands in it and is signed with it (HMAC-SHA256, RFC 2104): its kind,
its host, how its bearer came in, until when, and in which epoch.
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
Kind = Literal["pass", "grant", "link"]
"""A pass is the cookie of a visitor who was let in, a grant is changed for one within seconds, and a link is
changed for one as long as it lasts."""

WAYS: tuple[Way, ...] = get_args(Way)
ACCESS_PATH = "/.well-known/stager/access"
"""Where on a preview's own host the front changes a grant for a pass (RFC 8615)."""
SHARE_PARAMETER, BYPASS_PARAMETER = "stager_share", "stager_bypass"
GRANT_SECONDS = 60
LONGEST_TOKEN = 512
LONGEST_PATH = 4096

_VERSION = "1"
_PATH = re.compile(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?")


@dataclass(frozen=True, slots=True)
class Privacy:
    """What the configuration asks of those who want to see an application's previews.

    Args:
        ways: in which they may come in.
        password: for the way of this name.
        bypass_token: for the way of this name; anybody who has it comes in.
        stay: seconds that a visitor who was let in stays so.
        viewers: the least role of those who come in by signing in.
    """

    ways: frozenset[Way]
    password: str = field(default="", repr=False)
    bypass_token: str = field(default="", repr=False)
    stay: int = 43_200
    viewers: Role = Role.VIEWER


@dataclass(frozen=True, slots=True)
class Pass:
    """What a token says.

    Args:
        host: the one that it is good for.
        way: how its bearer came in.
        expires: seconds since 1970; not good at that moment any more.
        epoch: that of the guard that it was made under.
        subject: who came in: a link's id, a user's name, or nothing.
    """

    host: str
    way: Way
    expires: int
    epoch: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Guard:
    """What the front lets visitors in by.

    Args:
        ways: in which they may come in.
        epoch: passes of another one count no longer, but those by a link.
        page: the URL where Stager asks strangers who they are.
        stay: seconds that a visitor who was let in stays so.
        bypass: the digest of the bypass token, see `digest_of`; empty when there is none.
        links: the ids of the share links that are good.
    """

    ways: frozenset[Way]
    epoch: str
    page: str
    stay: int = 43_200
    bypass: str = ""
    links: frozenset[str] = frozenset()

    def admits(self, visitor: Pass) -> bool:
        """Whether this pass counts here, by what it says."""
        if visitor.way not in self.ways:
            return False
        # A link is good for as long as it is listed; that the password changed is nothing to it.
        return visitor.subject in self.links if visitor.way == "link" else visitor.epoch == self.epoch

    def is_bypassed_by(self, token: str) -> bool:
        """Whether this is the bypass token. How long it takes tells nothing about it."""
        return "bypass" in self.ways and bool(self.bypass) and same(digest_of(token), self.bypass)


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Who may see a host's preview, and whether search engines may index it. The default policy, which route
    tables leave out, is: everybody, no index.

    Args:
        guard: None where anybody may come.
        index: whether search engines may list it.
    """

    guard: Guard | None = None
    index: bool = False


def digest_of(secret: str) -> str:
    """SHA-256, in hex. Good enough for secrets that nobody can guess, and for no others."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether these are equal. How long it takes tells nothing about where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def epoch_of(privacy: Privacy, environment: str, key: bytes) -> str:
    """The epoch of an environment's guard: another one when the secrets of its application change."""
    parts = (environment, privacy.password, privacy.bypass_token)
    text = "\0".join(f"{len(part)}:{part}" for part in parts)
    return hmac.digest(key, b"epoch\0" + text.encode("utf-8", "surrogatepass"), "sha256").hex()[:16]


def seal(visitor: Pass, kind: Kind, key: bytes) -> str:
    """The token that says so: URL-safe text that a cookie can hold, too."""
    subject = base64.urlsafe_b64encode(visitor.subject.encode()).decode().rstrip("=")
    text = f"{_VERSION}.{kind}.{visitor.expires}.{visitor.way}.{visitor.epoch}.{subject}"
    return f"{text}.{_seal_of(text, visitor.host, key)}"


def unseal(token: str, kind: Kind, host: str, key: bytes, now: float) -> Pass | None:
    """What this token says, when we made it, as this kind, for this host, and it hasn't expired.

    Args:
        token: from anybody.
        now: seconds since 1970.
    """
    if len(token) > LONGEST_TOKEN or not token.isascii():
        return None
    text, _, sealed = token.rpartition(".")
    # Nothing of it is looked at before it is known to be ours.
    if not hmac.compare_digest(sealed, _seal_of(text, host, key)):
        return None
    try:
        version, said, expires, way, epoch, subject = text.split(".")
        found = Pass(host, cast("Way", way), int(expires), epoch, _plain(subject))
    except ValueError:
        return None
    return found if (version, said) == (_VERSION, kind) and found.expires > now else None


def safe_path(text: str) -> str:
    """The path to go on to, with its query, when it is one of the same host's; else the root.

    Browsers take `//host` and `/\\host` for another host, and drop tabs and line ends first (WHATWG
    URL Standard, section 4.4).
    """
    return text if len(text) <= LONGEST_PATH and _PATH.fullmatch(text) else "/"


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
        raise ValueError(f"there is no such way in: {', '.join(map(str, ways - set(WAYS)))}")
    links = frozenset(str(link) for link in wire["links"])
    guard = Guard(ways, str(wire["epoch"]), str(wire["page"]), int(wire["stay"]), str(wire["bypass"]), links)
    return AccessPolicy(guard, index)


def _seal_of(text: str, host: str, key: bytes) -> str:
    message = f"stager access\0{host}\0{text}".encode()
    return base64.urlsafe_b64encode(hmac.digest(key, message, "sha256")).decode().rstrip("=")


def _plain(subject: str) -> str:
    return base64.urlsafe_b64decode(subject + "=" * (-len(subject) % 4)).decode()
