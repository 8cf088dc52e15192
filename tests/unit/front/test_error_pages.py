"""The front's error pages, for people and for programs."""

import json
from html.parser import HTMLParser

import pytest

from stager.domain.route import Page
from stager.front.http.request_parser import parse_request
from stager.front.proxy.error_pages import STATES, ErrorPage, refuse, respond

HTML = parse_request(b"GET / HTTP/1.1\r\nHost: x.test\r\nAccept: text/html,*/*")
ANY = parse_request(b"GET / HTTP/1.1\r\nHost: x.test\r\nAccept: */*")
EVIL = "</pre><script>alert(1)</script>\"'&"


def split(response: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_page(state: str) -> None:
    status, headers, body = split(respond(ErrorPage(state, name="feature/x"), HTML, b"1", keep=True))
    assert status == STATES[state].status >= 400
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert (headers["X-Robots-Tag"], headers["Cache-Control"]) == ("noindex", "no-store")
    assert int(headers["Content-Length"]) == len(body)
    assert ('http-equiv="refresh"' in body.decode()) == STATES[state].refreshes == ("Retry-After" in headers)
    assert b"$" not in body
    HTMLParser().feed(body.decode())


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_problem(state: str) -> None:
    status, headers, body = split(
        respond(ErrorPage(state, name="n", app="a", lines=("l",)), ANY, b"1", keep=False)
    )
    problem = json.loads(body)
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Connection"] == "close"
    assert (problem["type"], problem["status"], problem["state"]) == ("about:blank", status, state)
    assert (problem["name"], problem["app"], problem["lines"]) == ("n", "a", ["l"])
    assert problem["title"]
    assert problem["detail"]


def test_what_strangers_wrote_is_escaped() -> None:
    page = ErrorPage("failed", EVIL, EVIL, EVIL, EVIL, (EVIL, EVIL), "https://x.test/" + EVIL)
    body = respond(page, HTML, b"1", keep=True).decode()
    assert "<script" not in body
    assert "&lt;script&gt;" in body


def test_only_web_addresses_are_linked() -> None:
    assert b"href" not in respond(ErrorPage("failed", url="javascript:alert(1)"), HTML, b"1", keep=True)
    assert b'href="https://x.test/1"' in respond(
        ErrorPage("failed", url="https://x.test/1"), HTML, b"1", keep=True
    )


def test_the_words_of_the_table_come_first() -> None:
    page = Page("failed", "main", "shop", "The build broke.", "See line 3.", ("boom",))
    body = respond(ErrorPage.of(page, "main.x.test"), HTML, b"1", keep=True).decode()
    for words in ("main could not be started", "shop", "The build broke.", "See line 3.", "boom"):
        assert words in body


def test_backticks_become_code() -> None:
    page = Page("failed", "main", "shop", "There is no `a<b>`.", "Set `port`, or look at `", ("`boom`",))
    body = respond(ErrorPage.of(page, "main.x.test"), HTML, b"1", keep=True).decode()
    assert "There is no <code>a&lt;b&gt;</code>." in body
    assert "Set <code>port</code>, or look at `" in body
    assert "`boom`" in body, "a log is shown as it is"


def test_a_dollar_or_brace_in_a_name_is_just_that() -> None:
    body = respond(ErrorPage("starting", name="$hint {name} {0}"), HTML, b"1", keep=True).decode()
    assert "<h1>$hint {name} {0} is starting</h1>" in body


def test_head_gets_no_body() -> None:
    request = parse_request(b"HEAD / HTTP/1.1\r\nHost: x.test")
    _, headers, body = split(respond(ErrorPage("gone"), request, b"1", keep=True))
    assert body == b""
    assert int(headers["Content-Length"]) > 0


def test_refusals_are_plain_words_and_close() -> None:
    status, headers, body = split(refuse(400, "The Host header is malformed."))
    assert (status, headers["Connection"], body) == (400, "close", b"The Host header is malformed.\n")
