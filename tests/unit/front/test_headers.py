"""The rewriting of headers."""

from stager.front.http.head import CHUNKED, UNTIL_CLOSE, RequestHead
from stager.front.http.headers import (
    Forwarding,
    request_head,
    request_id_of,
    response_head,
    stays_open,
    switching_head,
)
from stager.front.http.request_parser import parse_request
from stager.front.http.response_parser import parse_response


def head(*lines: str, first: str = "GET /a HTTP/1.1") -> RequestHead:
    return parse_request("\r\n".join([first, "Host: x.test:8000", *lines]).encode())


def fields(block: bytes) -> dict[str, str]:
    lines = block.decode().removesuffix("\r\n\r\n").split("\r\n")[1:]
    found = dict(line.split(": ", 1) for line in lines)
    assert len({name.lower() for name in found}) == len(lines), "a header is there twice"
    return found


def sent(request: RequestHead, forwarding: Forwarding) -> bytes:
    """The head as the app gets it."""
    return request_head(request, forwarding.facts(request), b"1")


PROXY = Forwarding("127.0.0.1", "http", trusted=True)
STRANGER = Forwarding("192.0.2.7", "http", trusted=False)
LIAR = [
    "X-Forwarded-For: 1.1.1.1",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.test",
    "X-Forwarded-Port: 1",
    "X-Real-IP: 1.1.1.1",
    "Forwarded: for=1.1.1.1",
]


def test_the_app_gets_the_client_in_headers() -> None:
    assert fields(request_head(head("Accept: */*"), STRANGER.facts(head()), b"id-1")) == {
        "Host": "x.test:8000",
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "x.test:8000",
        "X-Forwarded-Port": "8000",
        "X-Real-IP": "192.0.2.7",
        "Forwarded": 'for=192.0.2.7;host="x.test:8000";proto=http',
        "X-Request-Id": "id-1",
        "Accept": "*/*",
    }


def test_what_a_stranger_says_about_itself_is_replaced() -> None:
    lies = [*LIAR, "X-Forwarded-Ssl: on", "X-Forwarded-Scheme: https", "X_Forwarded_Ssl: on"]
    assert sent(head(*lies), STRANGER) == sent(head(), STRANGER)
    assert STRANGER.facts(head(*lies)).client == "192.0.2.7"
    assert not STRANGER.facts(head(*lies)).secure


def test_what_a_trusted_proxy_says_is_kept() -> None:
    told = fields(sent(head(*LIAR), PROXY))
    assert told["X-Forwarded-For"] == "1.1.1.1, 127.0.0.1"
    assert told["X-Forwarded-Proto"] == "https"
    assert told["X-Forwarded-Host"] == "evil.test"
    assert told["X-Forwarded-Port"] == "1"
    assert told["X-Real-IP"] == "1.1.1.1"
    assert told["Forwarded"] == 'for=1.1.1.1;host="evil.test";proto=https, for=127.0.0.1'
    assert PROXY.facts(head("X-Forwarded-For: 6.6.6.6, 2.2.2.2")).client == "2.2.2.2"


def test_the_next_host_on_the_same_connection_gets_its_own_lines() -> None:
    stranger = Forwarding("2001:db8::1", "https", trusted=False)
    sent(head(), stranger)
    other = parse_request(b"GET / HTTP/1.1\r\nHost: y.test")
    told = fields(sent(other, stranger))
    assert (told["Host"], told["X-Forwarded-Host"], told["X-Forwarded-Port"]) == ("y.test", "y.test", "443")
    assert told["Forwarded"] == 'for="[2001:db8::1]";host="y.test";proto=https'


def test_framing_is_rewritten() -> None:
    assert fields(sent(head("content-length:  7"), STRANGER))["Content-Length"] == "7"
    assert fields(sent(head("Content-Length: 0"), STRANGER))["Content-Length"] == "0"
    assert fields(sent(head("Transfer-Encoding: CHUNKED"), STRANGER))["Transfer-Encoding"] == "chunked"


def test_upgrade_is_the_only_hop_by_hop_header_that_passes() -> None:
    passed = fields(sent(head("Connection: Upgrade, x-a", "Upgrade: websocket", "X-A: 1"), STRANGER))
    assert (passed["Connection"], passed["Upgrade"]) == ("Upgrade", "websocket")
    assert "X-A" not in passed


def test_http_1_0_becomes_1_1_with_a_host() -> None:
    block = sent(parse_request(b"GET / HTTP/1.0"), STRANGER)
    assert block.startswith(b"GET / HTTP/1.1\r\nHost: localhost\r\n")


def test_ids_of_requests() -> None:
    assert request_id_of(head("X-Request-Id: abc")) == b"abc"
    assert request_id_of(head()) == b""
    assert request_id_of(head("X-Request-Id: a", "X-Request-Id: b")) == b""
    assert request_id_of(head("X-Request-Id: " + "a" * 200)) == b""


def test_responses() -> None:
    answer = parse_response(
        b"HTTP/1.0 200 Fine\r\nContent-Length: 3\r\nConnection: close, X-A\r\nX-A: 1\r\nX-B: 2"
    )
    assert response_head(answer, 1, keep=True) == b"HTTP/1.1 200 Fine\r\nX-B: 2\r\nContent-Length: 3\r\n\r\n"
    assert fields(response_head(answer, 1, keep=False))["Connection"] == "close"
    assert fields(response_head(answer, 0, keep=True))["Connection"] == "keep-alive"


def test_chunks_are_not_announced_to_http_1_0() -> None:
    answer = parse_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")
    assert "Transfer-Encoding" not in fields(response_head(answer, 0, keep=False))
    assert fields(response_head(answer, 1, keep=True)) == {"Transfer-Encoding": "chunked"}


def test_no_framing_where_there_is_no_body() -> None:
    assert (
        response_head(parse_response(b"HTTP/1.1 204 No\r\nContent-Length: 0"), 1, keep=True).count(b"\r\n")
        == 2
    )
    kept = parse_response(b"HTTP/1.1 304 No\r\nContent-Length: 9")
    assert fields(response_head(kept, 1, keep=True)) == {"Content-Length": "9"}


def test_switching() -> None:
    answer = parse_response(
        b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x"
    )
    assert fields(switching_head(answer)) == {
        "Sec-WebSocket-Accept": "x",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
    }


def test_when_the_connection_stays() -> None:
    assert stays_open(head(), 5)
    assert not stays_open(head(), UNTIL_CLOSE)
    assert not stays_open(head("Connection: close"), 5)
    assert not stays_open(head("Connection: keep-alive", first="GET / HTTP/1.0"), CHUNKED)
