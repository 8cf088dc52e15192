"""Access cookies aren't forwarded, an app's cookies stay with its host, all others are unchanged."""

from __future__ import annotations

import time

import pytest

from stager.front.http.cookies import (
    PLAIN_NAME,
    SECURE_NAME,
    access_cookie,
    access_tokens_in,
    allowed_cookies,
    without_access_cookies,
)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"stager-access=1", b""),
        (b"__Host-stager-access=1", b""),
        (b"a=1; stager-access=2; b=3", b"a=1; b=3"),
        (b"stager-access=2; a=1", b"a=1"),
        (b"a=1; stager-access=2", b"a=1"),
        (b"a=1;stager-access=2;b=3", b"a=1;b=3"),
        (b"stager-access=1; a=stager-access=2; stager-access=3", b"a=stager-access=2"),
        (b"a=1; \t stager-access \t=2", b"a=1"),
        (b"stager-access", b""),
    ],
)
def test_ours_are_taken_out(sent: bytes, kept: bytes) -> None:
    assert without_access_cookies(sent) == kept


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"a=1; b=2",
        b" a = 1 ;; b",
        b"xstager-access=1; stager-access2=1; Stager-Access=1; stager-session=1",
        b'a="x;y"; \xe9=\xff',
    ],
)
def test_all_others_pass_byte_for_byte(sent: bytes) -> None:
    assert without_access_cookies(sent) is sent


def test_several_of_one_name_are_all_read_up_to_a_limit() -> None:
    assert access_tokens_in([b"stager-access=1; a=2", b"stager-access=3"], PLAIN_NAME) == ["1", "3"]
    assert access_tokens_in([b"stager-access=1"], SECURE_NAME) == []
    assert access_tokens_in([], PLAIN_NAME) == []
    assert len(access_tokens_in([b"; ".join([b"stager-access=x"] * 1000)], PLAIN_NAME)) == 8


@pytest.mark.parametrize(
    "cookie",
    [
        b"a=1",
        b"a=1; Path=/; HttpOnly; SameSite=Lax",
        b"a=1; Domain=a.stage.test",
        b"a=1; Domain=.a.stage.test; Secure",
        b"a=1; Domain=",
        b"a=1; Domain",
        b"a=1; Domain=other.test",
        b"a=1; Path=/; x=domain=stage.test",
        b"domain=stage.test",
        b"__Host-session=1; Secure; Path=/",
    ],
)
def test_what_an_app_sets_for_itself_passes(cookie: bytes) -> None:
    assert allowed_cookies([cookie], b"stage.test") == [cookie]


@pytest.mark.parametrize(
    "attribute",
    [
        b"Domain=stage.test",
        b"domain=.stage.test",
        b" DOMAIN = STAGE.TEST ",
        b"\tDomain=test",
        b"Domain=stage.test.",
        b'Domain="stage.test"',
        b"Domain=.",
    ],
)
def test_what_reaches_other_previews_is_kept_to_its_host(attribute: bytes) -> None:
    narrowed = allowed_cookies([b"a=1; Path=/;" + attribute + b"; HttpOnly"], b"stage.test")
    assert narrowed == [b"a=1; Path=/; HttpOnly"]


def test_many_spaces_cost_no_time() -> None:
    began = time.process_time()
    padded = b"a=1; Domain=x" + b" " * 500_000 + b"x"
    assert allowed_cookies([padded], b"stage.test") == [padded]
    assert time.process_time() - began < 1


def test_all_domains_are_removed_if_one_of_them_is_too_wide() -> None:
    assert allowed_cookies([b"a=1; Domain=a.stage.test; Domain=stage.test"], b"stage.test") == [b"a=1"]


def test_applications_cant_set_cookies_of_our_name() -> None:
    forged = [b"stager-access=x", b" __Host-stager-access =x; Secure; Path=/", b"stager-access"]
    assert allowed_cookies([*forged, b"a=1"], b"stage.test") == [b"a=1"]


def test_without_a_domain_of_previews_nothing_reaches_it() -> None:
    assert allowed_cookies([b"a=1; Domain=stage.test"], b"") == [b"a=1; Domain=stage.test"]


def test_a_pass_is_for_this_host_alone_and_no_script_reads_it() -> None:
    assert access_cookie("x", 60, secure=True) == (
        "__Host-stager-access=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
    )
    assert access_cookie("x", 60, secure=False) == (
        "stager-access=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"
    )
