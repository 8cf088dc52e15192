"""The access gate: admits visitors to private previews, or sends them to Stager's login page. It also removes
Stager's own cookies and parameters from requests before they are forwarded.

The gate decides with the route table, the request, and a signing key that it shares with the control plane.
So visitors with an access cookie are admitted while the control plane is down.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs, quote, urlencode

from stager.domain.identity.access_policy import (
    ACCESS_PATH,
    BYPASS_PARAMETER,
    GRANT_SECONDS,
    SHARE_PARAMETER,
    AccessPolicy,
    AccessToken,
    Guard,
    safe_path,
    sign_token,
    verify_token,
)
from stager.front.http.cookies import (
    PLAIN_NAME,
    SECURE_NAME,
    access_cookie,
    access_tokens_in,
    without_access_cookies,
)
from stager.front.http.head import RequestHead
from stager.front.proxy.local_responses import PlainResponse
from stager.front.proxy.preview_hosts import is_from_another_preview, next_host

BYPASS_HEADER = b"x-stager-bypass"
_ACCESS = ACCESS_PATH.encode()
_PARAMETERS = (SHARE_PARAMETER.encode(), BYPASS_PARAMETER.encode())
_SAFE = frozenset({b"GET", b"HEAD"})
_MAX_FIELDS = 8
_INSTRUCTIONS = {
    "sign-in": "open it in a browser and sign in",
    "password": "open it in a browser and enter its password",
    "link": "open a share link for it",
    "bypass": "send its bypass token in the header X-Stager-Bypass",
}


class AccessGate:
    """Enforces access policies.

    Args:
        key: the signing key of access tokens, grants and share links.
        clock: seconds since 1970.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def check(self, head: RequestHead, policy: AccessPolicy | None, *, secure: bool) -> PlainResponse | None:
        """Return the response to a visitor who isn't admitted; None if the request is to be forwarded.
        Stager's own cookies and parameters have then been removed from it.

        Args:
            policy: the access policy of the request's host.
            secure: whether the visitor uses https.
        """
        guard = policy.guard if policy else None
        arrival = _Arrival(head, secure=secure)
        if guard is None:
            return None
        path, _, query = arrival.target.partition(b"?")
        if path == _ACCESS:
            return self._redeem_grant(arrival, guard, query)
        if arrival.parameters and head.method in _SAFE and not head.upgrade:
            return self._redeem_parameters(arrival, guard)
        if self._is_admitted(arrival, guard):
            return None
        return _denied(arrival, guard)

    def _is_admitted(self, arrival: _Arrival, guard: Guard) -> bool:
        if arrival.bypass and guard.is_bypassed_by(arrival.bypass):
            return True
        if arrival.tokens and is_from_another_preview(arrival.head, guard):
            return False
        for token in arrival.tokens:
            visitor = verify_token(token, "access", arrival.host, self._key, self._clock())
            if visitor is not None and guard.admits(visitor):
                return True
        return False

    def _redeem_grant(self, arrival: _Arrival, guard: Guard, query: bytes) -> PlainResponse:
        """Exchange a grant from Stager's login page, or the proof of access that another host of the preview
        redirects with, for an access cookie."""
        fields, now = _fields_of(query), self._clock()
        path = safe_path(fields.get("to", ["/"])[0])
        grant = verify_token(fields.get("grant", [""])[0], "grant", arrival.host, self._key, now)
        link = verify_token(fields.get("link", [""])[0], "link", arrival.host, self._key, now)
        visitor = grant or link
        if visitor is None or not guard.admits(visitor):
            return _redirect_to_login(arrival, guard, path)
        expires = visitor.expires if visitor is link else int(now) + guard.stay
        begin = fields.get("begin", [""])[0]
        return self._admit(arrival, guard, replace(visitor, expires=expires), path, begin)

    def _redeem_parameters(self, arrival: _Arrival, guard: Guard) -> PlainResponse:
        """Exchange the share link or the bypass token in a URL for an access cookie, and redirect to the URL
        without it."""
        path = safe_path(arrival.target.decode("latin-1"))
        share = arrival.parameters.get(SHARE_PARAMETER, "")
        link = verify_token(share, "link", arrival.host, self._key, self._clock())
        if link is not None and guard.admits(link):
            return self._admit(arrival, guard, link, path)
        if guard.is_bypassed_by(arrival.parameters.get(BYPASS_PARAMETER, "")):
            expires = int(self._clock()) + guard.stay
            visitor = AccessToken(arrival.host, "bypass", expires, guard.epoch)
            return self._admit(arrival, guard, visitor, path)
        if self._is_admitted(arrival, guard):
            return PlainResponse(303, "Continue without the token in the URL.", {"Location": path})
        return _denied(arrival, guard)

    def _admit(
        self, arrival: _Arrival, guard: Guard, visitor: AccessToken, path: str, begin: str = ""
    ) -> PlainResponse:
        """Give the visitor an access cookie, and redirect a browser through all hosts of the preview, so that
        it gets one for each.

        Args:
            begin: the host where that began; empty for this one.
        """
        token = sign_token(visitor, "access", self._key)
        seconds = visitor.expires - int(self._clock())
        cookie = access_cookie(token, seconds, secure=arrival.secure)
        begin = begin if begin in guard.hosts else ""
        following = next_host(guard.hosts, begin or arrival.host, arrival.host)
        if following and (begin or arrival.is_browser):
            location = self._url_of_access(arrival, visitor, following, path, begin or arrival.host)
        else:
            location = f"{arrival.origin_of(begin)}{path}" if begin else path
        return PlainResponse(303, "Access granted.", {"Location": location, "Set-Cookie": cookie})

    def _url_of_access(
        self, arrival: _Arrival, visitor: AccessToken, host: str, path: str, begin: str
    ) -> str:
        """The URL that gives the visitor the same access at another host of the preview."""
        if visitor.way == "link":
            proof = {"link": sign_token(replace(visitor, host=host), "link", self._key)}
        else:
            until = int(self._clock()) + GRANT_SECONDS
            proof = {"grant": sign_token(replace(visitor, host=host, expires=until), "grant", self._key)}
        query = urlencode({**proof, "to": path, "begin": begin}, quote_via=quote)
        return f"{arrival.origin_of(host)}{ACCESS_PATH}?{query}"


class _Arrival:
    """A request, from which Stager's own cookies and parameters have been removed."""

    def __init__(self, head: RequestHead, *, secure: bool) -> None:
        self.head = head
        self.host = head.host
        self.secure = secure
        self.parameters: dict[str, str] = {}
        self.tokens: list[str] = []
        values = head.special.get(BYPASS_HEADER, ())
        self.bypass = values[0].decode("latin-1") if len(values) == 1 else ""
        if head.marked:
            self._take_cookies(head)
            self._take_parameters(head)
        self.target = head.target
        self.is_browser = (
            head.method in _SAFE and not head.upgrade and b"text/html" in head.value(b"accept").lower()
        )

    def origin_of(self, host: str) -> str:
        """The origin of another host of the preview, with the scheme and the port of this request."""
        port = self.head.authority.decode("latin-1").rpartition(":")[2]
        suffix = f":{port}" if port.isdigit() else ""
        return f"{'https' if self.secure else 'http'}://{host}{suffix}"

    def _take_cookies(self, head: RequestHead) -> None:
        lines, cookies = [], []
        for line in head.lines:
            if line[:7].lower() != b"cookie:":
                lines.append(line)
                continue
            value = line[7:].strip(b" \t")
            cookies.append(value)
            kept = without_access_cookies(value)
            if kept:
                lines.append(line if kept is value else line[:7] + b" " + kept)
        head.lines = lines
        self.tokens = access_tokens_in(cookies, SECURE_NAME if self.secure else PLAIN_NAME)

    def _take_parameters(self, head: RequestHead) -> None:
        path, mark, query = head.target.partition(b"?")
        pieces = query.split(b"&")
        kept = [piece for piece in pieces if piece.partition(b"=")[0] not in _PARAMETERS]
        if len(kept) == len(pieces):
            return
        self.parameters = {
            name.decode(): value.decode("latin-1")
            for name, _, value in (piece.partition(b"=") for piece in pieces)
            if name in _PARAMETERS
        }
        head.target = path + (mark + b"&".join(kept) if kept else b"")


def _fields_of(query: bytes) -> dict[str, list[str]]:
    """The parameters of the redirect from Stager's login page; none if there are more than it ever sends."""
    try:
        return parse_qs(query.decode("latin-1"), max_num_fields=_MAX_FIELDS)
    except ValueError:
        return {}


def _denied(arrival: _Arrival, guard: Guard) -> PlainResponse:
    """Redirect a browser to the login page; tell a program what to do."""
    if arrival.is_browser:
        return _redirect_to_login(arrival, guard, safe_path(arrival.target.decode("latin-1")))
    ways = " or ".join(text for way, text in _INSTRUCTIONS.items() if way in guard.ways)
    # RFC 9110, section 11.6.1, requires a challenge; with this one, no browser asks for a password.
    challenge = {"WWW-Authenticate": 'Stager realm="preview"'}
    return PlainResponse(401, f"This preview is private: {ways}.", challenge)


def _redirect_to_login(arrival: _Arrival, guard: Guard, path: str) -> PlainResponse:
    query = urlencode({"host": arrival.host, "to": path}, quote_via=quote)
    return PlainResponse(302, "This preview is private.", {"Location": f"{guard.page}?{query}"})
