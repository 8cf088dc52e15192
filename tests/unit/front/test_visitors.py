"""Whose requests wake a preview, and which of them a browser shows as a page."""

from __future__ import annotations

import pytest

from stager.front.http.head import RequestHead
from stager.front.http.request_parser import parse_request
from stager.front.http.visitors import CRAWLERS, LINK_PREVIEWS, is_navigation, is_visit

BROWSER = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def head(*lines: str, method: str = "GET") -> RequestHead:
    return parse_request("\r\n".join([f"{method} / HTTP/1.1", "Host: x.test", *lines]).encode())


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
@pytest.mark.parametrize(
    "agent",
    [
        BROWSER,
        "User-Agent: curl/8.5.0",
        "User-Agent: python-requests/2.32.3",
        "User-Agent: Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ChatGPT-User/1.0)",
        "User-Agent: Mozilla/5.0 (Linux; Android 12; CUBOT NOTE) AppleWebKit/537.36 Chrome/120.0",
        "X-Nothing: 1",
    ],
)
def test_people_and_their_programs_are_visitors(method: str, agent: str) -> None:
    assert is_visit(head(agent, method=method))


@pytest.mark.parametrize("name", [*LINK_PREVIEWS, *CRAWLERS])
def test_link_previews_and_crawlers_are_not(name: str) -> None:
    for agent in (f"User-Agent: {name}1.0", f"uSER-aGENT: Mozilla/5.0 (compatible; {name.upper()}2)"):
        assert not is_visit(head(agent))
        assert not is_visit(head(agent, method="HEAD"))
        assert is_visit(head(agent, method="POST")), "they only read"


def test_only_the_start_of_a_long_name_is_searched() -> None:
    assert not is_visit(head(f"User-Agent: Googlebot/2.1 {'x' * 60_000}"))
    assert is_visit(head(f"User-Agent: {'x' * 60_000} Googlebot/2.1"))


@pytest.mark.parametrize(
    "line",
    [
        "Sec-Purpose: prefetch",
        "sec-purpose: Prefetch;prerender",
        "Purpose: prefetch",
        "X-Moz: prefetch",
    ],
)
def test_a_prefetch_is_not(line: str) -> None:
    assert not is_visit(head(BROWSER, line))


def test_other_purposes_are_visits() -> None:
    assert is_visit(head("Purpose: preview", "Sec-Purpose: something"))


@pytest.mark.parametrize(
    ("lines", "method", "expected"),
    [
        (["Accept: text/html"], "GET", True),
        (["Accept: Text/HTML;q=0.9,*/*"], "HEAD", True),
        (["Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"], "GET", True),
        (["Accept: text/html"], "POST", False),
        (["Accept: */*"], "GET", False),
        ([], "GET", False),
        (["Accept: text/html", "Sec-Fetch-Mode: cors"], "GET", False),
        (["Accept: text/html", "Sec-Fetch-Mode: no-cors"], "GET", False),
        (["Accept: text/html", "X-Requested-With: XMLHttpRequest"], "GET", False),
        (["Accept: text/html", "Connection: Upgrade", "Upgrade: websocket"], "GET", False),
    ],
)
def test_navigations(lines: list[str], method: str, expected: bool) -> None:
    assert is_navigation(head(*lines, method=method)) is expected
