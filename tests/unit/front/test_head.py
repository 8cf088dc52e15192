"""The parser of heads: what it accepts, and the forms of request smuggling that it rejects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.front.http.head import CHUNKED, MessageError
from stager.front.http.request_parser import check_incomplete, parse_request
from stager.front.http.response_parser import parse_response, read_response


def request(*lines: str, first: str = "GET / HTTP/1.1", host: str | None = "x.test") -> bytes:
    every = [first, *([f"Host: {host}"] if host is not None else []), *lines]
    return "\r\n".join(every).encode("latin-1")


def refused(block: bytes) -> int:
    with pytest.raises(MessageError) as caught:
        parse_request(block)
    return caught.value.status


class TestWhatIsTaken:
    def test_a_plain_request(self) -> None:
        head = parse_request(request("Accept: */*", first="GET /a?b=c HTTP/1.1", host="Shop.Stage.Test:8000"))
        assert (head.method, head.target, head.minor) == (b"GET", b"/a?b=c", 1)
        assert (head.host, head.authority) == ("shop.stage.test", b"Shop.Stage.Test:8000")
        assert head.lines == [b"Accept: */*"]
        assert head.length is None
        assert head.keep_alive

    @pytest.mark.parametrize(
        ("host", "known_as"),
        [
            ("x.test.", "x.test"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:8000", "::1"),
            ("a_b.test", "a_b.test"),
            ("LOCALHOST", "localhost"),
        ],
    )
    def test_hosts(self, host: str, known_as: str) -> None:
        assert parse_request(request(host=host)).host == known_as

    def test_http_1_0_needs_no_host_and_closes(self) -> None:
        head = parse_request(request(first="GET / HTTP/1.0", host=None))
        assert head.host == ""
        assert not head.keep_alive

    def test_http_1_0_may_ask_to_keep_the_connection(self) -> None:
        assert parse_request(request("Connection: Keep-Alive", first="GET / HTTP/1.0")).keep_alive

    def test_connection_close(self) -> None:
        assert not parse_request(request("Connection: foo, Close")).keep_alive

    def test_lengths(self) -> None:
        assert parse_request(request("Content-Length: 0")).length == 0
        assert parse_request(request("Content-Length:12")).length == 12
        assert parse_request(request("Transfer-Encoding: Chunked")).length == CHUNKED

    def test_an_empty_port(self) -> None:
        head = parse_request(b"GET / HTTP/1.1\r\nHost: x.test:")
        assert head.host == "x.test"

    @pytest.mark.parametrize(
        ("target", "host"),
        [
            ("http://x.test:80/a", "x.test"),
            ("http://x.test/a", "x.test:80"),
            ("http://x.test:/a", "X.test"),
            ("https://x.test:443/a", "x.test"),
            ("HTTP://X.TEST:8080/a", "x.test:8080"),
        ],
    )
    def test_a_port_that_says_nothing_is_no_difference(self, target: str, host: str) -> None:
        head = parse_request(f"GET {target} HTTP/1.1\r\nHost: {host}".encode())
        assert (head.target, head.host) == (b"/a", "x.test")

    @pytest.mark.parametrize(
        ("target", "host"),
        [
            ("http://x.test:443/", "x.test"),
            ("https://x.test:80/", "x.test"),
            ("http://x.test:8080/", "x.test"),
        ],
    )
    def test_another_port_is_another_host(self, target: str, host: str) -> None:
        with pytest.raises(MessageError):
            parse_request(f"GET {target} HTTP/1.1\r\nHost: {host}".encode())

    @pytest.mark.parametrize(
        ("upgrade", "passed"),
        [
            ("h2c, websocket", b"websocket"),
            ("websocket, H2C", b"websocket"),
            ("websocket", b"websocket"),
            ("a/1, b", b"a/1, b"),
            ("h2c", b""),
            ("h2, HTTP/2.0,", b""),
        ],
    )
    def test_an_upgrade_to_http_2_is_left_out(self, upgrade: str, passed: bytes) -> None:
        assert parse_request(request("Connection: Upgrade", f"Upgrade: {upgrade}")).upgrade == passed

    def test_absolute_form_becomes_origin_form(self) -> None:
        assert parse_request(request(first="GET http://X.test/a?b HTTP/1.1")).target == b"/a?b"
        assert parse_request(request(first="GET http://x.test HTTP/1.1")).target == b"/"
        assert parse_request(request(first="GET http://x.test?q HTTP/1.1")).target == b"/?q"

    def test_asterisk_form_for_options_only(self) -> None:
        assert parse_request(request(first="OPTIONS * HTTP/1.1")).target == b"*"
        assert refused(request(first="GET * HTTP/1.1")) == 400

    def test_bytes_beyond_ascii_pass_in_values(self) -> None:
        assert parse_request(request("X-Name: Z\xfcrich")).lines == [b"X-Name: Z\xfcrich"]

    def test_websocket(self) -> None:
        head = parse_request(request("Connection: keep-alive, Upgrade", "Upgrade: websocket"))
        assert head.upgrade == b"websocket"
        assert not head.replayable

    def test_upgrade_to_http_2_is_ignored(self) -> None:
        head = parse_request(
            request("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA")
        )
        assert head.upgrade == b""
        assert head.lines == []

    def test_hop_by_hop_headers_go(self) -> None:
        gone = [
            "Keep-Alive: 5",
            "TE: trailers",
            "Proxy-Connection: x",
            "Proxy-Authorization: x",
            "Proxy: http://evil",
        ]
        assert parse_request(request(*gone, "X-Own: 1", "Connection: x-own, close", "X-Other: 2")).lines == [
            b"X-Other: 2"
        ]

    def test_underscored_impostors_go(self) -> None:
        impostors = ["X_Forwarded_For: 1.2.3.4", "x_real-ip: 1.2.3.4", "Content_Length: 9", "X_Other: stays"]
        head = parse_request(request(*impostors, "Transfer_Encoding: chunked"))
        assert head.length is None
        assert head.lines == [b"X_Other: stays"]
        assert set(head.special) == {b"host"}

    def test_connection_cannot_name_the_headers_that_we_understand(self) -> None:
        head = parse_request(
            request("Connection: content-length, x-forwarded-for, host", "Content-Length: 3")
        )
        assert head.length == 3


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "lines",
        [
            ["Content-Length: 5", "Transfer-Encoding: chunked"],
            ["Transfer-Encoding: chunked", "Content-Length: 5"],
            ["Content-Length: 5", "Content-Length: 6"],
            ["Content-Length: 5", "Content-Length: 5"],
            ["Content-Length: 5, 5"],
            ["Content-Length: +5"],
            ["Content-Length: -1"],
            ["Content-Length: 0x5"],
            ["Content-Length: 5 5"],
            ["Content-Length: 1_000"],
            ["Content-Length: \xb2"],
            ["Content-Length:"],
            ["Content-Length: 9999999999999999999"],
            ["Transfer-Encoding: identity"],
            ["Transfer-Encoding: gzip, chunked"],
            ["Transfer-Encoding: chunked, chunked"],
            ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
            ["Transfer-Encoding: xchunked"],
            ["Transfer-Encoding: \x0bchunked"],
            ["Transfer-Encoding: chunked;q=1"],
            ["Transfer-Encoding:"],
            ['Transfer-Encoding: "chunked"'],
            ["Transfer-Encoding : chunked"],
            ["Transfer-Encoding\t: chunked"],
            [" Transfer-Encoding: chunked"],
            ["X-A: 1", " folded"],
            ["X-A: 1", "\tfolded"],
            ["X-A"],
            [": empty"],
            ["X A: 1"],
            ["X\x00A: 1"],
            ["X-A: 1\x00"],
            ["X-A: 1\x01"],
            ["X-A: 1\x7f"],
            ["X-A: 1\rX-B: 2"],
            ["X-A: 1\nX-B: 2"],
            ["X-A: 1\n"],
            ["X-\xe9: 1"],
            ["Host: y.test"],
            [""],
        ],
    )
    def test_header_lines(self, lines: list[str]) -> None:
        assert refused(request(*lines)) == 400

    @pytest.mark.parametrize(
        "first",
        [
            "",
            "GET",
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET /\ta HTTP/1.1",
            "GET / a HTTP/1.1",
            "G@T / HTTP/1.1",
            "GET / HTTP/1.1x",
            "GET / http/1.1",
            "GET / HTTP/1",
            "GET / HTTP/11",
            "GET a HTTP/1.1",
            "GET http:///a HTTP/1.1",
            "GET ftp://x.test/ HTTP/1.1",
            "GET http://y.test/ HTTP/1.1",
            "GET http://u@x.test/ HTTP/1.1",
            "GET http://x.test:81/ HTTP/1.1",
        ],
    )
    def test_request_lines(self, first: str) -> None:
        assert refused(request(first=first)) == 400

    @pytest.mark.parametrize(
        "host",
        [
            "",
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a::",
            "x.test:80:80",
            "[::1",
            "::1",
            "a\\b",
            "a,b",
            "<x>",
            "\xe9.test",
            "-a b",
            "." * 3,
        ],
    )
    def test_hosts(self, host: str) -> None:
        assert refused(request(host=host)) == 400

    def test_no_host(self) -> None:
        assert refused(request(host=None)) == 400

    def test_chunks_in_http_1_0(self) -> None:
        assert refused(request("Transfer-Encoding: chunked", first="POST / HTTP/1.0")) == 400

    def test_other_versions(self) -> None:
        assert refused(b"PRI * HTTP/2.0") == 505
        assert refused(request(first="GET / HTTP/1.2")) == 505
        assert refused(request(first="GET / HTTP/0.9")) == 505

    def test_connect(self) -> None:
        assert refused(request(first="CONNECT x.test:443 HTTP/1.1")) == 405

    def test_too_many_headers(self) -> None:
        assert refused(request(*[f"X-{number}: 1" for number in range(300)])) == 431


class TestBeginnings:
    @pytest.mark.parametrize(
        ("start", "status"),
        [
            (b"GET / HTTP/1.1\nHost: x\n\n", 400),
            (b"GET / HTTP/1.1\r\nHost: x\n", 400),
            (b"GET /" + b"a" * 200, 414),
            (b"GET / HTTP/1.1\r\nX: " + b"a" * 1000, 431),
            (b"PRI * HTTP/2.0\r\n", 505),
        ],
    )
    def test_hopeless_ones_are_not_waited_for(self, start: bytes, status: int) -> None:
        with pytest.raises(MessageError) as caught:
            check_incomplete(start, max_bytes=1000, max_line=100)
        assert caught.value.status == status

    @pytest.mark.parametrize("end", range(1, 30))
    def test_others_are(self, end: int) -> None:
        check_incomplete(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[:end], max_bytes=1000, max_line=100)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    try:
        head = parse_request(b"GET / HTTP/1.1\r\nHost: x\r\n" + data)
    except MessageError:
        return
    assert all(b"\n" not in line and b"\r" not in line and b"\0" not in line for line in head.lines)


class TestResponses:
    def test_a_plain_one(self) -> None:
        head = parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nKeep-Alive: timeout=5\r\nX: y")
        assert (head.status, head.length, head.lines, head.keep_alive) == (200, 3, [b"X: y"], True)

    def test_no_phrase(self) -> None:
        assert parse_response(b"HTTP/1.1 204").status == 204

    def test_http_1_0_closes(self) -> None:
        assert not parse_response(b"HTTP/1.0 200 OK").keep_alive

    @pytest.mark.parametrize(
        "block",
        [
            b"",
            b"HTTP/2 200",
            b"HTTP/1.1 20 OK",
            b"HTTP/1.1 2000 OK",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
            b"HTTP/1.1 200 OK\r\nX: a\nY: b",
            b"HTTP/1.1 200 OK\r\nX y: a",
        ],
    )
    def test_malformed_ones(self, block: bytes) -> None:
        with pytest.raises(MessageError):
            parse_response(block)

    @pytest.mark.parametrize(
        "data",
        [
            b"HTTP/1.1 200 OK\nX: y\nContent-Length: 3\n\nabc",
            b"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 3\r\n\nabc",
            b"HTTP/1.1 200 OK\nX: y\nContent-Length: 3\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nX:\r\n y\r\nContent-Length: 3\r\n\r\nabc",
            b"HTTP/1.1 200 OK\nX:\n\t  y\nContent-Length: 3\n\nabc",
            b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 3, 3\r\n\r\nabc",
        ],
    )
    @pytest.mark.parametrize("body", [b"", b"\r\n\r\n", b"\n\n"])
    def test_liberties_that_are_taken(self, data: bytes, body: bytes) -> None:
        read = read_response(data + body)
        assert read is not None
        head, rest = read
        assert (head.status, head.lines, head.length) == (200, [b"X: y"], 3)
        assert rest == b"abc" + body
        # However it comes in, it is whole at the same byte.
        end = len(data) - 3
        assert read_response(data[: end - 1]) is None
        assert read_response(data[:end]) is not None

    def test_a_fold_becomes_one_space(self) -> None:
        read = read_response(b"HTTP/1.1 200 OK\r\nX: a \r\n\t b\r\n  c\r\nY: d\r\n\r\n")
        assert read is not None
        assert read[0].lines == [b"X: a b c", b"Y: d"]

    @pytest.mark.parametrize(
        "data",
        [
            b"HTTP/1.1 200 OK\r\n X: y\r\n\r\n",
            b"HTTP/1.1 200 OK\n X: y\n\n",
            b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: a\x01b\n\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1,\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
            b"\r\n\r\n",
            b"\n\n",
            b"HTTP/1.1 200 OK\nX: " + b"y" * 70_000,
            b"HTTP/1.1 200 OK\nX: " + b"y" * 70_000 + b"\n\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        ],
    )
    def test_what_is_refused_all_the_same(self, data: bytes) -> None:
        with pytest.raises(MessageError):
            read_response(data)

    def test_no_liberties_in_requests(self) -> None:
        for block in (
            b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c",
            b"GET / HTTP/1.1\r\nHost: x\nA: b",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3",
        ):
            with pytest.raises(MessageError):
                parse_request(block)
