"""Whatever strangers send to a private preview: only what we made, for this host and as long as it lasts,
lets anybody in; that always does; and nothing of it reaches the application."""

from __future__ import annotations

import base64
from copy import copy
from dataclasses import replace
from typing import get_args
from urllib.parse import quote, urlsplit

import h11
from hypothesis import given
from hypothesis import strategies as st

from stager.domain.identity.access_policy import (
    ACCESS_PATH,
    WAYS,
    AccessPolicy,
    AccessToken,
    Guard,
    TokenKind,
    Way,
    digest_of,
    sign_token,
    verify_token,
)
from stager.front.http.head import MessageError, RequestHead
from stager.front.http.request_parser import parse_request
from stager.front.proxy.access_gate import AccessGate
from stager.front.proxy.local_responses import PlainResponse, respond
from tests.fuzz.streams import LINES, METHODS, TARGETS
from tests.length import length

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NOW = 1_000_000
HOST = "a.stage.test"
TOKEN = "a-token-that-nobody-guesses"
PAGE = "https://stage.test/preview-access"
GUARD = Guard(frozenset(WAYS), "0123456789abcdef", PAGE, 600, digest_of(TOKEN), frozenset({"l1"}))
GATE = AccessGate(KEY, lambda: float(NOW))
KINDS: st.SearchStrategy[TokenKind] = st.sampled_from(get_args(TokenKind))


def made(kind: TokenKind, way: Way, **changes: object) -> str:
    """One of ours."""
    visitor = AccessToken(HOST, way, NOW + 60, GUARD.epoch, "l1" if way == "link" else "ann")
    return sign_token(replace(visitor, **changes), kind, KEY)  # type: ignore[arg-type]


@st.composite
def spoiled(draw: st.DrawFn) -> str:
    """What was a good pass, grant or link once, or nearly is one."""
    kind: TokenKind = draw(KINDS)
    way: Way = draw(st.sampled_from(WAYS)) if kind == "access" else "link"
    token = made(kind, way)
    place = draw(st.integers(0, len(token) - 1))
    match draw(st.integers(0, 7)):
        case 0:
            return token[:place]
        case 1:
            return token[:place] + chr(ord(token[place]) ^ 1 << draw(st.integers(0, 6))) + token[place + 1 :]
        case 2:
            return token[:place] + draw(st.text(min_size=1, max_size=4)) + token[place:]
        case 3:
            return made(kind, way, expires=NOW - draw(st.integers(0, 10**6)))
        case 4:
            return made(kind, way, host=draw(st.sampled_from(["b.stage.test", "stage.test", "", HOST + "."])))
        case 5:
            return sign_token(AccessToken(HOST, way, NOW + 60, GUARD.epoch, "l1"), kind, OTHER_KEY)
        case 6:
            return made(kind, way, epoch="f" * 16, subject="l2")
        case _:
            parts = token.split(".")
            parts[draw(st.integers(0, 5))] = draw(
                st.sampled_from(["", "2", "9" * 12, "access", "link", "1e9", "bDE"])
            )
            return ".".join(parts)  # fmt: skip


NONSENSE = st.one_of(
    st.text(max_size=60),
    st.binary(max_size=60).map(lambda data: data.decode("latin-1")),
    st.lists(st.text("0123456789abcdefpasslinkgrant-_=", max_size=20), max_size=8).map(".".join),
    st.binary(max_size=60).map(lambda data: base64.urlsafe_b64encode(data).decode()),
    st.sampled_from(["x" * 600, "." * 500, "\0", "é", "%", "1.access.99999999999.bypass.0123456789abcdef.."]),
)
NO_GOOD = (spoiled() | NONSENSE).filter(
    lambda token: token not in {made(kind, way) for kind in get_args(TokenKind) for way in WAYS}
)
NAMES = st.sampled_from(["stager-access", "__Host-stager-access", "a", "Stager-Access", "stager-access "])
PAIRS = st.builds("{}={}".format, NAMES, NO_GOOD) | st.text("ab=; \t", max_size=8)
COOKIES = st.lists(PAIRS, max_size=5).map("; ".join).map("Cookie: {}".format)
BYPASSES = st.builds("X-Stager-Bypass: {}".format, NO_GOOD | st.sampled_from([TOKEN + " x", TOKEN.upper()]))
PARAMETERS = st.builds(
    "{}={}".format,
    st.sampled_from(["stager_share", "stager_bypass", "grant", "to", "a", "stager%5Fshare", ""]),
    NO_GOOD.map(lambda token: quote(token, safe="")) | st.text("ab%&+;=/\\", max_size=8),
)
QUERIES = (st.lists(PARAMETERS, max_size=4) | st.lists(st.just("a"), max_size=20)).map("&".join)
PATHS = st.sampled_from(["/", "/a", ACCESS_PATH, ACCESS_PATH + "/", "//b.test/", "/\\b.test", "/a%0d%0ab"])
WANTED = st.builds("{}?{}".format, PATHS, QUERIES).map(lambda target: target.encode("latin-1", "replace"))
OWN_LINES = st.lists(COOKIES | BYPASSES | st.just("Accept: text/html"), max_size=4)


@st.composite
def requests(draw: st.DrawFn, own: st.SearchStrategy[list[str]] = OWN_LINES) -> RequestHead | None:
    """A request without anything that is good, as the front reads it; None when it doesn't."""
    lines = [line.encode("latin-1", "replace") for line in draw(own)] + draw(LINES)
    first = b"%b %b HTTP/1.1" % (draw(METHODS), draw(WANTED | TARGETS))
    try:
        return parse_request(b"\r\n".join([first, b"Host: " + HOST.encode(), *lines]))
    except MessageError:
        return None


def check_notice(notice: PlainResponse, head: RequestHead) -> None:
    """It is an answer that HTTP knows, says no more than it should, and leads nowhere else."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", HOST)]))
    reader.send(h11.EndOfMessage())
    get = copy(head)
    get.method = b"GET"
    reader.receive_data(respond(notice, get, b"id", keep=True))
    answer = reader.next_event()
    assert isinstance(answer, h11.Response)
    assert answer.status_code == notice.status
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    assert {name.lower() for name in notice.headers} <= headers.keys()
    assert len([name for name, _ in answer.headers if name == b"location"]) <= 1
    where = urlsplit(headers.get("location", "/"))
    if where.netloc:
        assert headers["location"].startswith(f"{PAGE}?host={HOST}&to=%2F")
    else:
        assert where.path.startswith("/")
        assert not headers.get("location", "/")[1:].startswith(("/", "\\"))


@length(100)
@given(requests(), st.booleans())
def test_foreign_tokens_give_no_access(head: RequestHead | None, secure: bool) -> None:
    if head is None:
        return
    notice = GATE.check(head, AccessPolicy(GUARD), secure=secure)
    assert notice is not None
    assert notice.status in {302, 401}
    assert "Set-Cookie" not in notice.headers
    check_notice(notice, head)


@length(70)
@given(requests(), st.booleans())
def test_what_is_ours_reaches_no_application(head: RequestHead | None, secure: bool) -> None:
    """Not even that of a public preview."""
    if head is None:
        return
    assert GATE.check(head, None, secure=secure) is None
    kept = b"\n".join(line.partition(b":")[2] for line in head.lines if line[:7].lower() == b"cookie:")
    names = {pair.partition(b"=")[0].strip(b" \t") for line in kept.split(b"\n") for pair in line.split(b";")}
    assert not names & {b"stager-access", b"__Host-stager-access"}
    assert not [line for line in head.lines if line.lower().startswith(b"x-stager-bypass")]
    parameters = {pair.partition(b"=")[0] for pair in head.target.partition(b"?")[2].split(b"&")}
    assert not parameters & {b"stager_share", b"stager_bypass"}


@length(70)
@given(st.data(), st.sampled_from(WAYS), st.booleans())
def test_a_valid_token_always_grants_access(data: st.DataObject, way: Way, secure: bool) -> None:
    name = "__Host-stager-access" if secure else "stager-access"
    pairs = data.draw(st.lists(PAIRS, max_size=6))
    place = data.draw(st.integers(0, len(pairs)))
    line = "Cookie: " + "; ".join([*pairs[:place], f"{name}={made('access', way)}", *pairs[place:]])
    head = data.draw(requests(st.just([line])))
    if head is None or head.target.partition(b"?")[0] == ACCESS_PATH.encode():
        return
    notice = GATE.check(head, AccessPolicy(GUARD), secure=secure)
    assert notice is None or (notice.status == 303 and "Set-Cookie" not in notice.headers)
    assert not [line for line in head.lines if made("access", way).encode() in line]


@length(60)
@given(st.data(), st.booleans(), st.sampled_from(["share", "bypass", "grant"]))
def test_what_is_good_is_always_changed_for_a_pass(data: st.DataObject, secure: bool, kind: str) -> None:
    before, after = data.draw(QUERIES), data.draw(QUERIES)
    good = {
        "share": ("/a", f"stager_share={made('link', 'link')}"),
        "bypass": ("/a", f"stager_bypass={TOKEN}"),
        "grant": (ACCESS_PATH, f"grant={made('grant', 'password')}"),
    }
    path, parameter = good[kind]
    own = {"share": "stager_share", "bypass": "stager_bypass", "grant": "grant"}[kind]
    others = [p for p in f"{before}&{after}".split("&") if p.partition("=")[0] != own][:6]
    place = data.draw(st.integers(0, len(others)))
    target = f"{path}?{'&'.join([*others[:place], parameter, *others[place:]])}".encode("latin-1", "replace")
    try:
        head = parse_request(b"GET %b HTTP/1.1\r\nHost: %b" % (target, HOST.encode()))
    except MessageError:
        return
    notice = GATE.check(head, AccessPolicy(GUARD), secure=secure)
    assert notice is not None
    check_notice(notice, head)
    assert notice.status == 303
    cookie = notice.headers["Set-Cookie"].partition(";")[0]
    again = parse_request(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}".encode())
    assert GATE.check(again, AccessPolicy(GUARD), secure=secure) is None


@length(200)
@given(NO_GOOD, KINDS)
def test_no_token_is_read_that_we_didnt_make(token: str, kind: TokenKind) -> None:
    found = verify_token(token, kind, HOST, KEY, NOW)
    assert found is None or not GUARD.admits(found)
