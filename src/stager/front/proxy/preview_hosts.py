"""The hosts of one private preview: the tour that opens all of them, and requests between them.

Previews are siblings under one domain, so browsers count all of them as the same site (RFC 6265bis, section
5.2) and send the access cookie of one with requests that a page of another makes. Pages of the same preview
may do so, pages of other previews may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from stager.domain.identity.access_policy import Guard
from stager.front.http.head import RequestHead

LONGEST_TOUR = 15
"""Hosts that one visit opens. Chromium follows 20 redirects (`net/url_request/url_request.cc`)."""


def next_host(hosts: Sequence[str], begin: str, here: str) -> str:
    """The host of the preview that a visitor is sent to next; empty at the end of the tour.

    Args:
        hosts: those of the preview, in the same order at all of them.
        begin: where the tour began.
        here: where the visitor has just been admitted.
    """
    tour = hosts[:LONGEST_TOUR]
    if begin not in tour or here not in tour:
        return ""
    following = tour[(tour.index(here) + 1) % len(tour)]
    return following if following != begin else ""


def is_from_another_preview(head: RequestHead, guard: Guard) -> bool:
    """Whether a page of another preview made the request.

    Browsers send `Origin` with requests that can change something or whose response a script can read
    (WHATWG Fetch, section 3.1). Others, such as for an image or a script, have a `Referer`, unless the page
    suppresses it: then it is unknown which site made them, and that counts as another preview. A visitor who
    follows a link is always accepted.

    Args:
        guard: of the preview that the request is for.
    """
    source = _host_of(head.value(b"origin"))
    if not source and _is_part_of_a_page(head):
        source = _host_of(head.value(b"referer"))
        if not source:
            return True
    if not source or source == head.host or source in guard.hosts:
        return False
    return bool(guard.domain) and source.endswith(f".{guard.domain}")


def _is_part_of_a_page(head: RequestHead) -> bool:
    """Whether a page of another host of the same site loads it (W3C Fetch Metadata)."""
    return head.value(b"sec-fetch-site") == b"same-site" and head.value(b"sec-fetch-mode") != b"navigate"


def _host_of(url: bytes) -> str:
    try:
        return urlsplit(url.decode("latin-1")).hostname or ""
    except ValueError:
        return ""
