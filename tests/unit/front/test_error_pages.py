"""The front's pages, for people and for programs."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from typing import get_args

import pytest

from stager.domain.route import Page, PageState
from stager.front.http.request_parser import parse_request
from stager.front.proxy.error_pages import STATES, ErrorPage
from stager.front.proxy.local_responses import refuse, respond

HTML = parse_request(b"GET / HTTP/1.1\r\nHost: x.test\r\nAccept: text/html,*/*")
POST = parse_request(b"POST / HTTP/1.1\r\nHost: x.test\r\nAccept: text/html,*/*\r\nContent-Length: 0")
ANY = parse_request(b"GET / HTTP/1.1\r\nHost: x.test\r\nAccept: */*")
EVIL = "</pre><script>alert(1)</script>\"'&"
FAILED = Page(
    "failed",
    "main",
    "shop",
    "Failed while starting: It exited.",
    "See line 3.",
    ("boom",),
    "https://forge.test/7",
    "https://stager.test/previews/e",
    reason="exited",
    lines_title="Last lines of the log",
    findings=("compose.yaml:9: no",),
    stage="checking",
    stages=("building", "starting", "checking"),
    author="ann",
    number=7,
)
BUILDING = replace(FAILED, state="building", stage="building", findings=())


def split(response: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


def shown(page: Page | ErrorPage) -> str:
    """The page as HTML."""
    whole = ErrorPage.of(page, "main.x.test") if isinstance(page, Page) else page
    return split(respond(whole, HTML, b"1", keep=True))[2].decode()


def test_every_state_of_the_route_table_has_a_page() -> None:
    assert set(get_args(PageState)) <= STATES.keys()


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_page(state: str) -> None:
    status, headers, body = split(respond(ErrorPage(state, name="feature/x"), HTML, b"1", keep=True))
    assert status == STATES[state].status >= 400
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["X-Stager-State"] == state
    assert (headers["X-Robots-Tag"], headers["Cache-Control"]) == ("noindex", "no-store")
    assert int(headers["Content-Length"]) == len(body) < 10_000
    assert (
        ('http-equiv="refresh"' in body.decode()) == STATES[state].is_temporary == ("Retry-After" in headers)
    )
    assert b"$" not in body
    HTMLParser().feed(body.decode())


@pytest.mark.parametrize("state", STATES)
def test_a_page_loads_nothing_and_runs_only_its_own_script(state: str) -> None:
    _, headers, body = split(respond(ErrorPage(state, name="n", page=FAILED), HTML, b"1", keep=True))
    policy, text = headers["Content-Security-Policy"], body.decode()
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for element, expected in (("style", [True]), ("script", [True] if STATES[state].follows else [])):
        inline = re.findall(rf"<{element}[^>]*>(.*?)</{element}>", text, re.DOTALL)
        assert [f"{element}-src 'sha256-{digest(each)}';" in policy for each in inline] == expected
    assert not re.search(r"\s(src|style|on\w+)=|url\(|@import|<(img|iframe|object|form|base)\b", text)
    assert set(re.findall(r'href="([^"]+)"', text)) == {FAILED.url, FAILED.log_url}


def digest(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_problem(state: str) -> None:
    page = ErrorPage(state, "n", "It is so.", replace(FAILED, lines=("l",)))
    status, headers, body = split(respond(page, ANY, b"1", keep=False))
    problem = json.loads(body)
    assert headers["Content-Type"] == "application/problem+json"
    assert (headers["Connection"], headers["X-Stager-State"]) == ("close", state)
    assert (problem["type"], problem["status"], problem["state"]) == ("about:blank", status, state)
    assert (problem["name"], problem["app"], problem["lines"]) == ("n", "shop", ["l"])
    assert (problem["reason"], problem["stage"], problem["url"]) == ("exited", "checking", FAILED.url)
    assert problem["title"]
    assert problem["detail"].endswith(". It is so.")


def test_a_problem_without_details_has_no_empty_fields_besides_those_that_are_always_there() -> None:
    problem = json.loads(split(respond(ErrorPage("unknown", "n"), ANY, b"1", keep=True))[2])
    assert problem.keys() == {"type", "title", "status", "detail", "state", "name", "app", "hint", "lines"}


def test_the_place_in_the_queue_is_a_number_for_programs() -> None:
    page = replace(BUILDING, state="queued", place=3, since=int(time.time()) - 42)
    problem = json.loads(split(respond(ErrorPage.of(page, "h"), ANY, b"1", keep=True))[2])
    assert (problem["state"], problem["place"]) == ("queued", 3)
    assert "queued, place 3" in shown(page)
    assert re.search(r"Waiting for 4\d s\.", shown(page))
    assert "<li" not in shown(page), "no stage has begun"


def test_what_strangers_wrote_is_escaped() -> None:
    page = Page(
        "failed",
        *(
            EVIL,
            EVIL,
            EVIL,
            EVIL,
            (EVIL, EVIL),
            "https://x.test/" + EVIL,
            "https://x.test/" + EVIL,
            EVIL,
            EVIL,
        ),
        *((EVIL,), "building", ("building", EVIL), 0, EVIL, 7),
    )
    body = shown(page)
    assert body.count("<script") == 1
    assert "&lt;script&gt;" in body
    assert "alert(1)<" not in body.replace("alert(1)&lt;", "")


def test_only_web_addresses_are_linked() -> None:
    assert "href" not in shown(replace(FAILED, url="javascript:alert(1)", log_url="data:text/html,x"))
    assert 'href="https://forge.test/7"' in shown(FAILED)


class TestAFailure:
    def test_is_explained_to_visitors_first(self) -> None:
        body = shown(FAILED)
        lead, details = body.index("Its newest version has an error"), body.index("For developers")
        assert body.index("main could not be started") < lead < body.index("Ask ann, who opened") < details
        for words in ("Failed while starting: It exited.", "See line 3.", "boom", "compose.yaml:9: no"):
            assert body.index(words) > details
        assert "Push a new commit" not in body, "the hint of the failure is better"

    def test_without_a_pull_request_names_who_sent_the_link(self) -> None:
        body = shown(replace(FAILED, author="", number=0, url=""))
        assert "Ask the person who sent you this link." in body
        assert "Pull request" not in body

    def test_has_each_text_under_its_own_heading(self) -> None:
        body = shown(FAILED)
        assert re.search(r"<h3>Last lines of the log</h3><div class=\"log\"[^>]+><pre>boom<", body)
        assert re.search(
            r"<h3>What Stager found in the Compose file</h3><div class=\"log\"[^>]+><pre>compose", body
        )

    def test_shows_the_stage_at_which_it_failed(self) -> None:
        steps = re.findall(r'<li class="(\w+)">(\w+)<', shown(FAILED))
        assert steps == [("done", "Build"), ("done", "Start"), ("failed", "Check")]
        steps = re.findall(r'<li class="(\w+)">(\w+)<', shown(replace(FAILED, stage="running")))
        assert steps[2:] == [("done", "Check"), ("failed", "Run")]


class TestABuild:
    def test_shows_the_stage_the_time_and_the_log(self) -> None:
        body = shown(replace(BUILDING, since=int(time.time()) - 42))
        assert (
            '<li class="now" aria-current="step">Build<span class="unseen">, in progress</span></li>' in body
        )
        assert "<li>Start</li><li>Check</li>" in body
        assert re.search(r"In progress for 4\d s\.", body)
        assert "<pre>boom</pre>" in body

    def test_has_a_section_for_developers_only_with_something_in_it(self) -> None:
        assert "<section hidden>" in shown(replace(BUILDING, lines=()))
        assert "<section>" in shown(BUILDING)

    def test_of_minutes_is_shown_in_minutes(self) -> None:
        assert "In progress for 5 min." in shown(replace(BUILDING, since=int(time.time()) - 330))


def test_a_page_for_a_request_that_changes_something_doesnt_refresh_itself() -> None:
    """A reload would send the request again, without its body."""
    body = split(respond(ErrorPage("unreachable", "n"), POST, b"1", keep=True))[2]
    assert b"<script" not in body
    assert b"http-equiv" not in body


@pytest.mark.parametrize("state", ["bad-response", "no-response"])
def test_a_page_in_place_of_one_response_doesnt_repeat_the_request(state: str) -> None:
    """The host itself is live, so the script would load the page again at once, for ever."""
    assert "<script" not in shown(ErrorPage(state, "n"))


def test_the_words_of_the_table_come_first() -> None:
    body = shown(Page("stopped", "main", "shop", "Ann stopped it.", "Launch it again."))
    for words in ("main is stopped", "shop", "Ann stopped it.", "Launch it again."):
        assert words in body
    assert STATES["stopped"].lead not in body


def test_backticks_become_code() -> None:
    page = Page("failed", "main", "shop", "There is no `a<b>`.", "Set `port`, or look at `", ("`boom`",))
    body = shown(page)
    assert "There is no <code>a&lt;b&gt;</code>." in body
    assert "Set <code>port</code>, or look at `" in body
    assert "`boom`" in body, "a log is shown as it is"


def test_a_dollar_or_brace_in_a_name_is_just_that() -> None:
    assert "<h1>$hint {name} {0} is starting</h1>" in shown(ErrorPage("starting", name="$hint {name} {0}"))


def test_head_gets_no_body() -> None:
    request = parse_request(b"HEAD / HTTP/1.1\r\nHost: x.test")
    _, headers, body = split(respond(ErrorPage("gone"), request, b"1", keep=True))
    assert body == b""
    assert int(headers["Content-Length"]) > 0


def test_refusals_are_plain_words_and_close() -> None:
    status, headers, body = split(refuse(400, "The Host header is malformed."))
    assert (status, headers["Connection"], body) == (400, "close", b"The Host header is malformed.\n")
