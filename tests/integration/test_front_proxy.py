"""The front as a proxy: a real process, real sockets, an app of many faces behind it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stager.domain.identity.access_policy import AccessPolicy
from stager.domain.route import Endpoint, Page, RouteTable
from tests.unit.docs.written import page_sample
from tests.unit.front.harness import (
    DOMAIN,
    HOST,
    App,
    Rig,
    Writer,
    free_port,
    read_head,
    read_response,
    request,
    resident,
    rig,
)


@pytest.fixture
async def front(tmp_path: Path, app: App) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as running:
        await running.serve({HOST: app.endpoint})
        yield running


class TestMessages:
    async def test_get(self, front: Rig) -> None:
        response = await front.ask("/a?b=c", "X-Own: 1", "X-Request-Id: abc")
        assert response.status == 200
        assert response.json["target"] == "/a?b=c"
        headers = response.json["headers"]
        assert isinstance(headers, dict)
        assert (headers["host"], headers["x-own"], headers["x-request-id"]) == (HOST, "1", "abc")
        assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("127.0.0.1", "http")

    async def test_keep_alive_on_both_sides(self, front: Rig, app: App) -> None:
        async with front.dial() as (reader, writer):
            for _ in range(20):
                writer.write(request())
                assert (await read_response(reader)).status == 200
        assert app.connections == 1

    async def test_pipelining(self, front: Rig) -> None:
        async with front.dial() as (reader, writer):
            bodies = [b"x" * size for size in (0, 1, 70_000, 3)]
            writer.write(b"".join(request(f"/{len(body)}", method="POST", body=body) for body in bodies))
            answers = [await read_response(reader) for _ in bodies]
        assert [answer.json["target"] for answer in answers] == ["/0", "/1", "/70000", "/3"]
        assert [answer.json["size"] for answer in answers] == [0, 1, 70_000, 3]

    async def test_a_flood_of_pipelined_pages(self, front: Rig) -> None:
        async with front.dial() as (reader, writer):
            count = 2000
            writer.write(request(host=f"nobody.{DOMAIN}") * count)
            for _ in range(count):
                assert (await read_response(reader)).status == 404

    async def test_a_flood_of_pipelined_pages_that_the_client_doesnt_read(self, front: Rig) -> None:
        before, flood = resident(front.hello.pid), request(host=f"nobody.{DOMAIN}") * 100
        async with front.dial() as (_, writer):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(_flood(writer, flood), 1.5)
            assert resident(front.hello.pid) - before < 16 << 20
            writer.transport.abort()

    async def test_byte_by_byte(self, front: Rig) -> None:
        async with front.dial() as (reader, writer):
            body = b"4\r\nwiki\r\n0\r\n\r\n"
            for byte in request("/", "Transfer-Encoding: chunked", method="POST") + body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
            assert (await read_response(reader)).json["size"] == 4

    async def test_chunked_both_ways(self, front: Rig) -> None:
        async with front.dial() as (reader, writer):
            writer.write(request("/", "Transfer-Encoding: chunked", method="POST"))
            writer.write(b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\n\r\n" + request("/chunks"))
            assert (await read_response(reader)).json["digest"] == hashlib.sha256(b"hello!").hexdigest()
            assert (await read_response(reader)).body == b"abcde"

    async def test_trailers_arrive(self, front: Rig) -> None:
        data = await front.say(request("/chunks", "Connection: close"))
        assert data.endswith(b"0\r\nX-Sum: 5\r\n\r\n")

    async def test_http_1_0(self, front: Rig) -> None:
        data = await front.say(request("/chunks", minor=0))
        head, _, body = data.partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert body == b"abcde"

    async def test_http_1_0_may_keep_the_connection(self, front: Rig) -> None:
        async with front.dial() as (reader, writer):
            for _ in range(2):
                writer.write(request("/", "Connection: keep-alive", minor=0))
                assert (await read_response(reader)).headers["connection"] == "keep-alive"

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "PATCH"])
    async def test_methods(self, front: Rig, method: str) -> None:
        async with front.dial() as (reader, writer):
            for _ in range(2):
                writer.write(request(method=method))
                assert (await read_response(reader, method)).status == 200

    @pytest.mark.parametrize("status", [204, 304])
    async def test_statuses_without_body(self, front: Rig, status: int) -> None:
        async with front.dial() as (reader, writer):
            for _ in range(2):
                writer.write(request(f"/empty?{status}"))
                response = await read_response(reader)
                assert (response.status, response.headers["x-empty"]) == (status, "yes")

    async def test_expect_continue(self, front: Rig) -> None:
        async with front.dial() as (reader, writer):
            head = request("/continue", "Expect: 100-continue", "Content-Length: 5", method="POST")
            writer.write(head)
            first, _ = await asyncio.wait_for(read_head(reader), 5)
            assert first == "HTTP/1.1 100 Continue"
            writer.write(b"hello")
            assert (await read_response(reader)).json["size"] == 5

    async def test_a_response_that_ends_with_the_connection(self, front: Rig) -> None:
        response = await front.ask("/until-close")
        assert (response.headers["connection"], response.body) == ("close", b"until close")

    @pytest.mark.parametrize("path", ["/half", "/half-chunk"])
    async def test_a_partial_response_never_looks_complete(self, front: Rig, path: str) -> None:
        async with front.dial() as (reader, writer):
            writer.write(request(path))
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await read_response(reader)

    async def test_an_early_answer_to_an_upload(self, front: Rig) -> None:
        for _ in range(5):
            async with front.dial() as (reader, writer):
                writer.write(request("/early", "Content-Length: 50000000", method="POST"))
                writer.write(bytes(1 << 20))
                response = await asyncio.wait_for(read_response(reader), 10)
                assert (response.status, response.body) == (413, b"big")

    @pytest.mark.parametrize("path", ["/", "/wait", "/chunks", "/big?3", "/until-close"])
    async def test_a_half_closed_client_gets_its_answer(self, front: Rig, app: App, path: str) -> None:
        async with front.dial() as (reader, writer):
            writer.write(request(path))
            writer.write_eof()
            await asyncio.sleep(0.2 if path == "/wait" else 0)
            app.go.set()
            answer = await asyncio.wait_for(read_response(reader), 10)
            assert answer.status == 200
            assert len(answer.body) == (3 << 20 if path == "/big?3" else len(answer.body) or -1)
            assert await asyncio.wait_for(reader.read(), 5) == b"", "and nothing else"

    async def test_all_requests_of_a_half_closed_client_are_answered(self, front: Rig) -> None:
        data = request("/1") + request(host=f"nobody.{DOMAIN}") + request("/2", method="POST", body=b"x")
        async with front.dial() as (reader, writer):
            writer.write(data + b"GET / HT")
            writer.write_eof()
            assert [(await read_response(reader)).status for _ in range(3)] == [200, 404, 200]
            assert await asyncio.wait_for(reader.read(), 5) == b""

    async def test_half_an_upload_is_no_request(self, front: Rig, app: App) -> None:
        async with front.dial() as (reader, writer):
            writer.write(request("/", "Content-Length: 100", method="POST") + b"half")
            await asyncio.sleep(0.2)
            app.hung_up.clear()
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 5) == b""
        await asyncio.wait_for(app.hung_up.wait(), 5)

    async def test_an_upgrade_to_one_of_several(self, front: Rig) -> None:
        async with front.dial() as (reader, writer):
            writer.write(request("/ws", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c, websocket"))
            assert (await read_response(reader)).status == 101

    async def test_a_port_that_says_nothing(self, front: Rig) -> None:
        assert (await front.ask(host=f"{HOST}:")).status == 200
        assert (await front.ask(f"http://{HOST}:80/a")).json["target"] == "/a"

    @pytest.mark.parametrize(
        "data", [b"GET / HTTP/1.1\nHost: x\n\n", b"GET / HTTP/1.1\r\n\r\n", b"\0\r\n\r\n"]
    )
    async def test_malformed_requests(self, front: Rig, data: bytes) -> None:
        answer = await front.say(data)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"Connection: close" in answer

    async def test_smuggling_does_not_get_through(self, front: Rig, app: App) -> None:
        smuggled = "Content-Length: 6", "Transfer-Encoding: chunked"
        answer = await front.say(request("/", *smuggled, method="POST") + b"0\r\n\r\n" + request("/admin"))
        assert answer.count(b"HTTP/1.1 ") == 1
        assert app.connections == 0

    async def test_a_malformed_chunk_ends_both_connections(self, front: Rig, app: App) -> None:
        answer = await front.say(
            request("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhelloX\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 400 ")

    async def test_a_malformed_response(self, front: Rig) -> None:
        response = await front.ask("/garbage")
        assert (response.status, response.json["state"]) == (502, "bad-response")


async def _flood(writer: Writer, data: bytes) -> None:
    while True:
        writer.write(data)
        await writer.drain()


class TestStreams:
    async def test_websocket(self, front: Rig) -> None:
        async with front.dial() as (reader, writer):
            # The first frame is sent before the answer, as an eager client may.
            writer.write(request("/ws", "Connection: Upgrade", "Upgrade: websocket") + b"early")
            response = await read_response(reader)
            assert (response.status, response.headers["upgrade"]) == (101, "websocket")
            assert await reader.readexactly(7) == b"hiearly"
            for size in (1, 100, 300_000):
                writer.write(bytes(size))
                assert await reader.readexactly(size) == bytes(size)
            assert (await front.client.stats())["open"] != {}
            writer.write_eof()
            assert await reader.read() == b"bye"

    async def test_an_upgrade_that_wasnt_requested(self, front: Rig) -> None:
        response = await front.ask("/ws-unasked")
        assert (response.status, response.json["state"]) == (502, "bad-response")

    async def test_events_arrive_at_once(self, front: Rig, app: App) -> None:
        async with front.dial() as (reader, writer):
            writer.write(request("/sse"))
            await read_head(reader)
            for number in range(3):
                assert b"data: %d\n" % number in await asyncio.wait_for(reader.readuntil(b"\n\n"), 5)
                app.go.set()

    async def test_a_client_that_hangs_up_is_not_waited_for(self, front: Rig, app: App) -> None:
        async with front.dial() as (reader, writer):
            writer.write(request("/sse"))
            await reader.readuntil(b"\n\n")
            app.hung_up.clear()
        await asyncio.wait_for(app.hung_up.wait(), 5)
        assert (await front.client.stats())["open"] == {}

    @pytest.mark.parametrize("framing", ["length", "chunked"])
    async def test_big_uploads_take_no_memory(self, front: Rig, framing: str) -> None:
        await front.ask()
        before, block, count = resident(front.hello.pid), bytes(1 << 20), 150
        async with front.dial() as (reader, writer):
            line = f"Content-Length: {count << 20}" if framing == "length" else "Transfer-Encoding: chunked"
            writer.write(request("/", line, method="POST"))
            for _ in range(count):
                writer.write(block if framing == "length" else b"100000\r\n" + block + b"\r\n")
                await writer.drain()
            writer.write(b"" if framing == "length" else b"0\r\n\r\n")
            assert (await asyncio.wait_for(read_response(reader), 30)).json["size"] == count << 20
        assert resident(front.hello.pid) - before < 16 << 20

    async def test_a_slow_reader_takes_no_memory(self, front: Rig) -> None:
        await front.ask()
        before = resident(front.hello.pid)
        async with front.dial() as (reader, writer):
            writer.write(request("/big?100"))
            await asyncio.sleep(1)
            assert resident(front.hello.pid) - before < 16 << 20
            response = await asyncio.wait_for(read_response(reader), 30)
        assert len(response.body) == 100 << 20

    async def test_an_app_that_does_not_read_holds_the_client(self, front: Rig, app: App) -> None:
        before = resident(front.hello.pid)
        async with front.dial() as (reader, writer):
            writer.write(request("/deaf", f"Content-Length: {50 << 20}", method="POST"))
            writer.write(bytes(50 << 20))
            await asyncio.sleep(0.5)
            assert resident(front.hello.pid) - before < 16 << 20
            app.go.set()
            assert (await asyncio.wait_for(read_response(reader), 30)).json["size"] == 50 << 20


class TestPages:
    @pytest.mark.parametrize(
        ("state", "status"),
        [
            ("queued", 503),
            ("building", 503),
            ("starting", 503),
            ("approval", 403),
            ("checks", 503),
            ("failed", 502),
            ("stopped", 503),
            ("expired", 410),
            ("refused", 403),
            ("gone", 410),
        ],
    )
    async def test_rows_that_are_pages(self, front: Rig, state: str, status: int) -> None:
        await front.serve({HOST: Page(state, "feature/x", "shop", "So it is.", lines=("boom",))})  # type: ignore[arg-type]
        machine, person = await front.ask(), await front.ask("/", "Accept: text/html")
        assert (machine.status, machine.json["state"], machine.json["lines"]) == (status, state, ["boom"])
        assert person.status == status
        assert b"feature/x" in person.body
        assert b"So it is." in person.body

    async def test_for_programs_as_the_page_about_visitors_says(self, front: Rig, tmp_path: Path) -> None:
        host = "warm-welcome.demo.example.org"
        await front.serve({host: Page("building", "warm-welcome", "shop")})
        (tmp_path / ".curlrc").write_text(f"connect-to = {host}:80:127.0.0.1:{front.port}\nsilent\n")
        command = page_sample("what-visitors-see.md", "curl -i http://warm-welcome")
        curl = await asyncio.create_subprocess_shell(
            command, stdout=subprocess.PIPE, env={**os.environ, "CURL_HOME": str(tmp_path), "no_proxy": "*"}
        )
        head, _, body = (await curl.communicate())[0].partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert {b"Retry-After: 2", b"X-Stager-State: building", b"Cache-Control: no-store"} <= set(
            head.split(b"\r\n")
        )
        assert json.loads(body)["state"] == "building"

    @pytest.mark.parametrize("port", [0, 70_000])
    async def test_an_address_that_is_none(self, front: Rig, port: int) -> None:
        await front.serve({HOST: Endpoint("127.0.0.1", port)})
        assert (await front.ask()).json["state"] == "unreachable"

    async def test_an_unknown_host(self, front: Rig) -> None:
        response = await front.ask(host=f"nobody.{DOMAIN}:8000")
        assert (response.status, response.json["state"]) == (404, "unknown")

    async def test_everything_else_is_home(self, front: Rig, app: App, tmp_path: Path) -> None:
        home = App("home")
        await home.start(tmp_path / "home.sock")
        await front.serve({HOST: app.endpoint}, home.endpoint)
        for host in (DOMAIN, "127.0.0.1:80", "localhost", "other.test"):
            assert (await front.ask(host=host)).json["app"] == "home"
        await home.stop()

    async def test_home_is_away(self, front: Rig, tmp_path: Path) -> None:
        for home in (None, Endpoint(path=str(tmp_path / "nobody.sock"))):
            await front.serve({}, home)
            response = await front.ask(host="localhost")
            assert (response.status, response.json["state"]) == (503, "restarting")
            assert response.headers["retry-after"] == "2"

    async def test_the_app_doesnt_answer(self, front: Rig) -> None:
        await front.serve({HOST: Endpoint("127.0.0.1", free_port())})
        events = front.client.messages()
        assert (await anext(events))["event"] == "connected"
        changed = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.1)
        response = await front.ask()
        assert (response.status, response.json["state"]) == (502, "unreachable")
        assert await asyncio.wait_for(changed, 5) == {"event": "unreachable", "host": HOST}
        await events.aclose()

    async def test_a_body_that_isnt_read(self, front: Rig) -> None:
        async with front.dial() as (reader, writer):
            writer.write(request(method="POST", host=f"nobody.{DOMAIN}", body=bytes(3 << 20)))
            response = await read_response(reader)
            assert (response.status, response.headers["connection"]) == (404, "close")
            assert await asyncio.wait_for(reader.read(), 10) == b""

    async def test_head_of_a_page(self, front: Rig) -> None:
        async with front.dial() as (reader, writer):
            for _ in range(2):
                writer.write(request(method="HEAD", host=f"nobody.{DOMAIN}"))
                assert (await read_response(reader, "HEAD")).status == 404

    async def test_connect_is_refused(self, front: Rig) -> None:
        assert (await front.say(b"CONNECT x.test:443 HTTP/1.1\r\nHost: x.test:443\r\n\r\n")).startswith(
            b"HTTP/1.1 405 "
        )


class TestPool:
    async def test_a_kept_connection_that_the_app_closed(self, front: Rig, app: App) -> None:
        """The app restarts on the same port: the kept connection is closed, and the next request succeeds."""
        await front.ask()
        port = app.endpoint.port
        await app.stop()
        again = App("again")
        again._server = await asyncio.start_server(again._serve, "127.0.0.1", port)
        assert (await front.ask()).json["app"] == "again"
        assert (await front.ask(method="POST", body=b"x")).json["app"] == "again"
        await again.stop()

    @pytest.mark.attack(
        "Clear-Site-Data, and X-Accel-Redirect for an nginx before Stager",
        profile="repository's own code",
        result="both are removed from the response",
    )
    @pytest.mark.parametrize("policy", [None, AccessPolicy(index=True)])
    async def test_an_app_reaches_its_own_visitors_only(
        self, front: Rig, app: App, policy: AccessPolicy | None
    ) -> None:
        """Not to an nginx before the front, and of no other hosts' cookies. Stager itself may."""
        await front.client.apply(
            RouteTable({HOST: app.endpoint}, DOMAIN, policies={HOST: policy} if policy else {})
        )
        answer = await front.ask("/beyond")
        beyond = {name for name in answer.headers if name.startswith(("x-accel-", "clear-"))}
        assert (answer.status, beyond, answer.headers["x-acceleration"]) == (200, set(), "yes")

        await front.serve({HOST: app.endpoint}, home=app.endpoint)
        ours = (await front.ask("/beyond", host=DOMAIN)).headers
        assert (ours["x-accel-buffering"], ours["x-accel-redirect"]) == ("no", "/secret")
        assert ours["clear-site-data"] == '"cookies", "storage"'

    async def test_log(self, front: Rig) -> None:
        await front.ask("/a?token=secret", "X-Request-Id: me-1")
        await asyncio.sleep(1.2)
        lines = [json.loads(line) for line in (front.state_dir / "access.log").read_text().splitlines()]
        line = lines[-1]
        assert (line["host"], line["method"], line["path"], line["status"]) == (HOST, "GET", "/a", 200)
        assert (line["request_id"], line["client"], line["outcome"]) == ("me-1", "127.0.0.1", "proxied")
        assert line["bytes"] > 100
        assert "secret" not in json.dumps(lines)


class TestNonsense:
    @pytest.mark.parametrize("seed", range(4))
    async def test_the_front_survives_any_input(self, front: Rig, seed: int) -> None:
        """Requests with random damage, some cut off: no hang, and no traceback (the rig looks for one)."""
        dice = random.Random(seed)
        seeds = [
            request("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n0\r\n\r\n",
            request("/chunks") + request("/ws", "Connection: Upgrade", "Upgrade: websocket") + b"data",
            request("/early", method="POST", body=bytes(5000)) + request("/half"),
            request(host=f"nobody.{DOMAIN}", method="POST", body=b"12345") + request("/big?1"),
        ]
        await asyncio.gather(*(_damage(front, dice.choice(seeds), dice) for _ in range(150)))
        assert (await front.ask()).status == 200
        async with asyncio.timeout(10):
            while (await front.client.stats())["open"]:
                await asyncio.sleep(0.05)


async def _damage(front: Rig, data: bytes, dice: random.Random) -> None:
    damaged, damages = bytearray(data), [b"", b"\0", b"\r", b"\n", b"\r\n", b" ", b":", b"0", b"\xff"]
    for _ in range(dice.randrange(4)):
        place = dice.randrange(len(damaged))
        damaged[place : place + dice.randrange(3)] = dice.choice(damages)
    async with front.dial() as (reader, writer):
        with contextlib.suppress(OSError):
            for begin in range(0, len(damaged), 97):
                writer.write(damaged[begin : begin + 97])
                await writer.drain()
            await asyncio.wait_for(reader.read(dice.randrange(1, 5000)), 0.5)
            if dice.random() < 0.5:
                writer.transport.abort()
