"""What the HTTP listener answers itself where there is HTTPS: ACME's challenges, and redirects."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from stager.front.http.head import RequestHead
from stager.front.proxy.local_responses import PlainResponse

_CHALLENGES = b"/.well-known/acme-challenge/"
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{1,128}")
_HTTPS = 443


class PlainHttp:
    """Answers requests on the HTTP listener before they are routed.

    Args:
        challenges: the folder with the answers of HTTP-01 challenges, by token (RFC 8555, section 8.3); None
            without ACME.
        https_port: the port of HTTPS as visitors see it; 0: nothing is redirected.
        is_secured: whether a host has a certificate, or will have one. Requests for other hosts aren't
            redirected.
    """

    def __init__(self, challenges: Path | None, https_port: int, is_secured: Callable[[str], bool]) -> None:
        self._challenges = challenges
        self._https_port = https_port
        self._is_secured = is_secured

    def answer(self, head: RequestHead, *, secure: bool) -> PlainResponse | None:
        """Return the response; None if the request is routed.

        Args:
            secure: whether the visitor uses HTTPS to a trusted proxy.
        """
        if self._challenges is not None and head.target.startswith(_CHALLENGES):
            return _answer_to(self._challenges, head.target)
        if not self._https_port or secure or _is_local(head.host) or not self._is_secured(head.host):
            return None
        port = "" if self._https_port == _HTTPS else f":{self._https_port}"
        path = head.target.decode("latin-1")
        location = f"https://{head.host}{port}{path if path.startswith('/') else '/'}"
        return PlainResponse(308, "This site uses HTTPS.", {"Location": location})


def _answer_to(folder: Path, target: bytes) -> PlainResponse:
    """The answer to a challenge. Unknown ones aren't routed: a preview could order certificates for its host
    otherwise, and use up the issuer's limit for the domain."""
    token = target.removeprefix(_CHALLENGES)
    if _TOKEN.fullmatch(token):
        with suppress(OSError):
            return PlainResponse(200, (folder / token.decode()).read_text(), {})
    return PlainResponse(404, "There is no such challenge.", {})


def _is_local(host: str) -> bool:
    """Whether no public certificate can be for this host: an address, `localhost` or a name without a dot."""
    if "." not in host or host.endswith(".localhost"):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
