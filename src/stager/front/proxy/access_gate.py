"""Lets visitors in to private previews, or sends them where they can ask; and takes what is ours out of every
request.

It asks nobody: what decides is in the route table, in the request, and signed with a key that the control
plane has too. So whoever has a pass comes in while the control plane is away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlencode

from stager.domain.identity.access_policy import (
    ACCESS_PATH,
    BYPASS_PARAMETER,
    SHARE_PARAMETER,
    AccessPolicy,
    Guard,
    Pass,
    safe_path,
    seal,
    unseal,
)
from stager.front.http.cookies import PLAIN_NAME, SECURE_NAME, pass_cookie, passes_in, without_ours
from stager.front.http.head import RequestHead

BYPASS_HEADER = b"x-stager-bypass"
_ACCESS = ACCESS_PATH.encode()
_PARAMETERS = (SHARE_PARAMETER.encode(), BYPASS_PARAMETER.encode())
_SAFE = frozenset({b"GET", b"HEAD"})
_WORDS = {
    "sign-in": "open it in a browser and sign in",
    "password": "open it in a browser and give its password",
    "link": "open a share link for it",
    "bypass": "send its bypass token in the header X-Stager-Bypass",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """What a visitor is told in the place of the preview: a status, a sentence, and where to go on."""

    status: int
    words: str
    headers: dict[str, str]


class Gate:
    """Meets the visitors.

    Args:
        key: signs passes, grants and links.
        clock: seconds since 1970.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def meet(self, head: RequestHead, terms: AccessPolicy | None, *, secure: bool) -> Notice | None:
        """What to tell the visitor; None to let the request through, from which everything that is ours is
        gone then.

        Args:
            terms: those of its host.
            secure: whether the visitor came over https.
        """
        guard = terms.guard if terms else None
        arrival = _Arrival(head, secure=secure)
        if guard is None:
            return None
        path, _, query = arrival.target.partition(b"?")
        if path == _ACCESS:
            return self._arrive(arrival, guard, query)
        if arrival.offers and head.method in _SAFE and not head.upgrade:
            return self._exchange(arrival, guard)
        if self._may_pass(arrival, guard):
            return None
        return _sent_away(arrival, guard)

    def _may_pass(self, arrival: _Arrival, guard: Guard) -> bool:
        if arrival.bypass and guard.is_bypassed_by(arrival.bypass):
            return True
        for token in arrival.passes:
            visitor = unseal(token, "pass", arrival.host, self._key, self._clock())
            if visitor is not None and guard.admits(visitor):
                return True
        return False

    def _arrive(self, arrival: _Arrival, guard: Guard, query: bytes) -> Notice:
        """Somebody comes from Stager's page with a grant."""
        given = _fields_of(query)
        to = safe_path(given.get("to", ["/"])[0])
        grant = unseal(given.get("grant", [""])[0], "grant", arrival.host, self._key, self._clock())
        if grant is None or not guard.admits(grant):
            return _sent_to_ask(arrival, guard, to)
        return self._welcome(arrival, grant, int(self._clock()) + guard.stay, to)

    def _exchange(self, arrival: _Arrival, guard: Guard) -> Notice:
        """Somebody brings a share link or the bypass token in the URL; it must not stay there."""
        to = safe_path(arrival.target.decode("latin-1"))
        share = arrival.offers.get(SHARE_PARAMETER, "")
        link = unseal(share, "link", arrival.host, self._key, self._clock())
        if link is not None and guard.admits(link):
            return self._welcome(arrival, link, link.expires, to)
        if guard.is_bypassed_by(arrival.offers.get(BYPASS_PARAMETER, "")):
            until = int(self._clock()) + guard.stay
            return self._welcome(arrival, Pass(arrival.host, "bypass", until, guard.epoch), until, to)
        if self._may_pass(arrival, guard):
            return Notice(303, "Go on without the token.", {"Location": to})
        return _sent_away(arrival, guard)

    def _welcome(self, arrival: _Arrival, visitor: Pass, until: int, to: str) -> Notice:
        token = seal(
            Pass(visitor.host, visitor.way, until, visitor.epoch, visitor.subject), "pass", self._key
        )
        cookie = pass_cookie(token, until - int(self._clock()), secure=arrival.secure)
        return Notice(303, "You are let in.", {"Location": to, "Set-Cookie": cookie})


class _Arrival:
    """A request, out of which everything that is ours has been taken."""

    def __init__(self, head: RequestHead, *, secure: bool) -> None:
        self.host = head.host
        self.secure = secure
        self.offers: dict[str, str] = {}
        self.passes: list[str] = []
        values = head.special.get(BYPASS_HEADER, ())
        self.bypass = values[0].decode("latin-1") if len(values) == 1 else ""
        if head.marked:
            self._take_cookies(head)
            self._take_parameters(head)
        self.target = head.target
        self.is_browser = (
            head.method in _SAFE and not head.upgrade and b"text/html" in head.value(b"accept").lower()
        )

    def _take_cookies(self, head: RequestHead) -> None:
        lines, cookies = [], []
        for line in head.lines:
            if line[:7].lower() != b"cookie:":
                lines.append(line)
                continue
            value = line[7:].strip(b" \t")
            cookies.append(value)
            kept = without_ours(value)
            if kept:
                lines.append(line if kept is value else line[:7] + b" " + kept)
        head.lines = lines
        self.passes = passes_in(cookies, SECURE_NAME if self.secure else PLAIN_NAME)

    def _take_parameters(self, head: RequestHead) -> None:
        path, mark, query = head.target.partition(b"?")
        pieces = query.split(b"&")
        kept = [piece for piece in pieces if piece.partition(b"=")[0] not in _PARAMETERS]
        if len(kept) == len(pieces):
            return
        self.offers = {
            name.decode(): value.decode("latin-1")
            for name, _, value in (piece.partition(b"=") for piece in pieces)
            if name in _PARAMETERS
        }
        head.target = path + (mark + b"&".join(kept) if kept else b"")


def _fields_of(query: bytes) -> dict[str, list[str]]:
    """What the way back from Stager's page bears; nothing where there is more than that ever has."""
    try:
        return parse_qs(query.decode("latin-1"), max_num_fields=8)
    except ValueError:
        return {}


def _sent_away(arrival: _Arrival, guard: Guard) -> Notice:
    """Whoever has no pass: people to a page that asks them who they are, programs with a sentence."""
    if arrival.is_browser:
        return _sent_to_ask(arrival, guard, safe_path(arrival.target.decode("latin-1")))
    ways = " or ".join(words for way, words in _WORDS.items() if way in guard.ways)
    # RFC 9110, section 11.6.1, wants a challenge; this one makes no browser ask for a password.
    return Notice(401, f"This preview is private: {ways}.", {"WWW-Authenticate": 'Stager realm="preview"'})


def _sent_to_ask(arrival: _Arrival, guard: Guard, to: str) -> Notice:
    query = urlencode({"host": arrival.host, "to": to}, quote_via=quote)
    return Notice(302, "This preview is private.", {"Location": f"{guard.page}?{query}"})
