"""Requests to sleeping hosts: held until the host is awake, and then served as they were sent."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stager.domain.errors import Fault
from stager.domain.identity.access_policy import AccessPolicy, AccessToken, Guard, sign_token
from stager.domain.route import Endpoint, Page, RouteTable
from stager.domain.traffic import FrontEventKind
from stager.front.http.limits import Limits
from stager.front.process.client import FrontClient
from stager.front.process.launcher import FrontLauncher, FrontOptions
from stager.front.process.signing_key import load_key
from tests.unit.front.harness import (
    DOMAIN,
    HOST,
    App,
    Reader,
    Response,
    Rig,
    Writer,
    certificate_in,
    free_port,
    peak,
    read_response,
    request,
    resident,
    rig,
    trusting,
)

ASLEEP = Page("asleep", "feature/x", "shop", url="https://forge.test/7")
OTHER = f"b.{DOMAIN}"
NAVIGATION = ("Accept: text/html,*/*", "Sec-Fetch-Mode: navigate")
BODY = random.Random(1).randbytes(10 << 20)
DIGEST = hashlib.sha256(BODY).hexdigest()
RESET = struct.pack("ii", 1, 0)


def options(port: int, **limits: Any) -> FrontOptions:
    return FrontOptions(listen=f"127.0.0.1:{port}", limits=Limits(**{"navigation_seconds": 0.5, **limits}))


class Sleeper:
    """A front with a host that sleeps, and what the control plane does for it."""

    def __init__(self, front: Rig, app: App) -> None:
        self.front = front
        self.app = app
        self.client = front.client
        self.wakes: Counter[str] = Counter()
        self.asleep = RouteTable({HOST: ASLEEP, OTHER: app.endpoint}, DOMAIN)
        self._following: asyncio.Task[None] | None = None

    async def follow(self, after: float | None = None) -> None:
        """Count the events; wake each host so many seconds after its first one."""
        connected = asyncio.Event()

        async def follow() -> None:
            async for event in self.client.events():
                connected.set()
                if event.kind is FrontEventKind.WAKE:
                    self.wakes[event.host] += 1
                    if after is not None and self.wakes[event.host] == 1:
                        await asyncio.sleep(after)
                        await self.wake()

        self._following = asyncio.create_task(follow())
        await asyncio.wait_for(connected.wait(), 5)
        await asyncio.sleep(0.05)

    async def wake(self) -> None:
        await self.client.update(self.asleep, self.asleep.upsert(HOST, self.app.endpoint))

    async def held(self, number: int, seconds: float = 10.0) -> None:
        """Wait until so many requests are held."""
        async with asyncio.timeout(seconds):
            while (await self.client.stats())["held"] != number:
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)


@contextlib.asynccontextmanager
async def sleeping(folder: Path, app: App, **limits: Any) -> AsyncIterator[Sleeper]:
    port = free_port()
    async with rig(folder, options(port, **limits), port) as front:
        sleeper = Sleeper(front, app)
        await front.client.apply(sleeper.asleep)
        yield sleeper
        await sleeper.stop()


@pytest.fixture
async def sleeper(tmp_path: Path, app: App) -> AsyncIterator[Sleeper]:
    async with sleeping(tmp_path, app) as sleeper:
        yield sleeper


async def answered(reader: Reader, method: str = "GET") -> Response:
    return await asyncio.wait_for(read_response(reader, method), 20)


class TestServed:
    async def test_five_hundred_at_once_make_one_wake(self, sleeper: Sleeper) -> None:
        await sleeper.follow(after=0.3)
        asking = [sleeper.front.ask(f"/{number}", method="POST", body=b"x") for number in range(500)]
        answers = await asyncio.gather(*asking)
        assert [answer.json["target"] for answer in answers] == [f"/{number}" for number in range(500)]
        # One event for all of them, and at most one for each second that they waited.
        assert 1 <= sleeper.wakes[HOST] <= 3

    async def test_an_application_that_accepts_few_at_once_gets_few_at_once(self, sleeper: Sleeper) -> None:
        """As with Python's `http.server`, whose queue has 5 places."""
        sleeper.app = App("small")
        await sleeper.app.start(backlog=5)
        asking = [asyncio.create_task(sleeper.front.ask()) for _ in range(500)]
        await sleeper.held(500)
        await sleeper.wake()
        assert {(await task).json["app"] for task in asking} == {"small"}
        await sleeper.app.stop()

    async def test_requests_that_wait_for_others_do_not_block_them(self, sleeper: Sleeper) -> None:
        waiting = [asyncio.create_task(sleeper.front.ask("/wait")) for _ in range(60)]
        await sleeper.held(60)
        last = asyncio.create_task(sleeper.front.ask("/last"))
        await sleeper.held(61)
        await sleeper.wake()
        assert (await last).json["target"] == "/last"
        assert not any(task.done() for task in waiting)
        sleeper.app.go.set()
        assert {(await task).status for task in waiting} == {200}

    @pytest.mark.parametrize("framing", ["length", "chunked", "continue"])
    async def test_an_upload_of_ten_megabytes(self, sleeper: Sleeper, framing: str) -> None:
        lines = [] if framing == "chunked" else [f"Content-Length: {len(BODY)}"]
        lines += ["Transfer-Encoding: chunked"] if framing == "chunked" else []
        lines += ["Expect: 100-continue"] if framing == "continue" else []
        path = "/continue" if framing == "continue" else "/upload"
        async with sleeper.front.dial() as (reader, writer):
            writer.write(request(path, *lines, method="POST"))
            sending = asyncio.create_task(self._send(writer, chunked=framing == "chunked"))
            await sleeper.held(1)
            await asyncio.sleep(0.2)
            assert not sending.done(), "it is read only once the host is awake"
            await sleeper.wake()
            response = await answered(reader)
            await sending
        assert (response.json["size"], response.json["digest"]) == (len(BODY), DIGEST)
        assert response.interim == ([100] if framing == "continue" else [])

    @staticmethod
    async def _send(writer: Writer, *, chunked: bool) -> None:
        for begin in range(0, len(BODY), 1 << 16):
            piece = BODY[begin : begin + (1 << 16)]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await writer.drain()
        writer.write(b"0\r\n\r\n" if chunked else b"")

    async def test_a_websocket(self, sleeper: Sleeper) -> None:
        async with sleeper.front.dial() as (reader, writer):
            writer.write(request("/ws", "Connection: Upgrade", "Upgrade: websocket"))
            await sleeper.held(1)
            await sleeper.wake()
            assert (await answered(reader)).status == 101
            writer.write(b"ping")
            assert await asyncio.wait_for(reader.readexactly(6), 5) == b"hiping"

    async def test_an_event_stream(self, sleeper: Sleeper) -> None:
        async with sleeper.front.dial() as (reader, writer):
            writer.write(request("/sse", "Accept: text/event-stream"))
            await sleeper.held(1)
            await sleeper.wake()
            await asyncio.wait_for(reader.readuntil(b"data: 0\n\n"), 5)

    async def test_pipelined_requests_in_their_order(self, sleeper: Sleeper) -> None:
        async with sleeper.front.dial() as (reader, writer):
            writer.write(request("/1", host=OTHER) + request("/2", method="POST", body=b"two"))
            writer.write(request("/3") + request("/4", host=OTHER))
            assert (await answered(reader)).json["target"] == "/1"
            await sleeper.held(1)
            await sleeper.wake()
            targets = [(await answered(reader)).json["target"] for _ in range(3)]
        assert targets == ["/2", "/3", "/4"]

    async def test_http_1_0(self, sleeper: Sleeper) -> None:
        async with sleeper.front.dial() as (reader, writer):
            writer.write(request("/old", minor=0))
            await sleeper.held(1)
            await sleeper.wake()
            response = await answered(reader)
            assert (response.json["target"], response.headers["connection"]) == ("/old", "close")

    async def test_a_client_that_has_closed_its_sending_side(self, sleeper: Sleeper) -> None:
        async with sleeper.front.dial() as (reader, writer):
            writer.write(request("/eof", method="POST", body=b"all of it"))
            writer.write_eof()
            await sleeper.held(1)
            await asyncio.sleep(2.5)  # it is checked each second whether the client has left
            await sleeper.wake()
            response = await answered(reader)
        assert (response.status, response.interim) == (200, [102])

    @pytest.mark.parametrize("is_asleep", [True, False])
    async def test_a_client_that_has_sent_all_its_requests(self, sleeper: Sleeper, is_asleep: bool) -> None:
        """It gets all responses, and the connection is closed after the last one."""
        if not is_asleep:
            await sleeper.wake()
        async with sleeper.front.dial() as (reader, writer):
            writer.write(request("/1", host=OTHER) + request("/2") + request("/3", host=OTHER))
            writer.write_eof()
            assert (await answered(reader)).json["target"] == "/1"
            if is_asleep:
                await sleeper.held(1)
                await sleeper.wake()
            assert [(await answered(reader)).json["target"] for _ in range(2)] == ["/2", "/3"]
            assert await asyncio.wait_for(reader.read(), 5) == b""

    async def test_the_log_has_the_time_that_it_waited(self, sleeper: Sleeper) -> None:
        asking = asyncio.create_task(sleeper.front.ask("/logged"))
        await sleeper.held(1)
        await asyncio.sleep(0.3)
        await sleeper.wake()
        await asking
        log = sleeper.front.state_dir / "access.log"
        async with asyncio.timeout(5):
            while not log.exists() or '"/logged"' not in log.read_text():
                await asyncio.sleep(0.05)
        (entry,) = [
            line for line in map(json.loads, log.read_text().splitlines()) if line["path"] == "/logged"
        ]
        assert (entry["status"], entry["outcome"]) == (200, "proxied")
        assert entry["ms"] >= 300

    async def test_at_an_ingress_port(self, sleeper: Sleeper, app: App) -> None:
        port = free_port()
        asleep = RouteTable({HOST: ASLEEP}, DOMAIN, None, {port: HOST})
        await sleeper.client.apply(asleep)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("/ingress", host="whatever"))
        await sleeper.held(1)
        await sleeper.client.update(asleep, asleep.upsert(HOST, app.endpoint))
        assert (await answered(reader)).json["headers"]["host"] == HOST  # type: ignore[index]
        writer.close()


class TestPages:
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_a_navigation_gets_a_page_that_reloads_itself(self, sleeper: Sleeper, method: str) -> None:
        await sleeper.follow()
        async with sleeper.front.dial() as (reader, writer):
            for _ in range(2):
                writer.write(request("/", *NAVIGATION, method=method))
                response = await answered(reader, method)
                assert (response.status, response.headers["retry-after"]) == (503, "2")
                assert response.headers["content-type"].startswith("text/html")
                assert response.headers["cache-control"] == "no-store"
                if method == "GET":
                    assert b"feature/x is waking up" in response.body
                    assert b'http-equiv="refresh"' in response.body
                    assert b"https://forge.test/7" in response.body
            await sleeper.wake()
            writer.write(request("/", *NAVIGATION, method=method))
            assert (await answered(reader, method)).status == 200
        assert sleeper.wakes[HOST] >= 2

    @pytest.mark.parametrize(
        "lines",
        [
            ("Accept: */*",),
            ("Accept: text/html", "Sec-Fetch-Mode: cors"),
            ("Accept: text/html", "X-Requested-With: XMLHttpRequest"),
        ],
    )
    async def test_anything_else_waits_longer(self, sleeper: Sleeper, lines: tuple[str, ...]) -> None:
        asking = asyncio.create_task(sleeper.front.ask("/", *lines))
        await asyncio.sleep(2)
        assert not asking.done()
        await sleeper.wake()
        assert (await asking).status == 200

    async def test_what_takes_too_long(self, tmp_path: Path, app: App) -> None:
        async with sleeping(tmp_path, app, wake_seconds=0.5) as sleeper:
            problem = await sleeper.front.ask("/", method="POST", body=b"x")
            page = await sleeper.front.ask("/", "Accept: text/html", method="POST", body=b"x")
        assert (problem.status, problem.headers["retry-after"]) == (503, "2")
        assert problem.json["state"] == "waking"
        assert "within 0.5 s" in str(problem.json["detail"])
        assert page.status == 503
        assert b"http-equiv" not in page.body, "a reload would lose what was sent"
        assert b"<script" not in page.body

    @pytest.mark.parametrize(("state", "status"), [("failed", 502), ("stopped", 503), ("gone", 410)])
    async def test_another_page_takes_its_place(self, sleeper: Sleeper, state: Any, status: int) -> None:
        asking = asyncio.create_task(sleeper.front.ask())
        await sleeper.held(1)
        for waking in (Page("waking"), Page("asleep")):
            await sleeper.client.apply(sleeper.asleep.upsert(HOST, waking))
            await sleeper.held(1)
        await sleeper.client.apply(sleeper.asleep.upsert(HOST, Page(state)))
        response = await asking
        assert (response.status, response.json["state"]) == (status, state)

    async def test_a_host_that_is_removed(self, sleeper: Sleeper) -> None:
        asking = asyncio.create_task(sleeper.front.ask())
        await sleeper.held(1)
        await sleeper.client.apply(sleeper.asleep.delete(HOST))
        assert (await asking).status == 404

    async def test_the_connection_stays_open_after_a_page(self, tmp_path: Path, app: App) -> None:
        async with (
            sleeping(tmp_path, app, wake_seconds=0.5) as sleeper,
            sleeper.front.dial() as (reader, writer),
        ):
            writer.write(request("/1") + request("/2", host=OTHER))
            assert (await answered(reader)).status == 503
            assert (await answered(reader)).json["target"] == "/2"

    async def test_pipelined_requests_are_held_one_after_the_other(self, sleeper: Sleeper) -> None:
        async with sleeper.front.dial() as (reader, writer):
            writer.write(request("/1", *NAVIGATION) + request("/2", *NAVIGATION))
            writer.write(request("/3", method="POST", body=BODY))
            for _ in range(2):
                assert (await answered(reader)).status == 503
            await sleeper.held(1)
            await sleeper.wake()
            assert (await answered(reader)).json["digest"] == DIGEST

    async def test_a_front_that_stops_answers(self, sleeper: Sleeper) -> None:
        asking = asyncio.create_task(sleeper.front.ask())
        await sleeper.held(1)
        await sleeper.front.launcher.stop(0.0)
        assert (await asking).status == 503


class TestVisitors:
    @pytest.mark.parametrize(
        "line",
        [
            "User-Agent: Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
            "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Sec-Purpose: prefetch;prerender",
            "Purpose: prefetch",
        ],
    )
    async def test_programs_neither_wake_nor_count(self, sleeper: Sleeper, line: str) -> None:
        await sleeper.follow()
        for method in ("GET", "HEAD"):
            response = await sleeper.front.ask("/", line, "Accept: text/html", method=method)
            assert response.status == 503
            assert method == "HEAD" or b"feature/x is asleep" in response.body
        assert (await sleeper.front.ask("/", line, host=OTHER)).status == 200
        await asyncio.sleep(1.2)
        assert not sleeper.wakes
        assert (await sleeper.client.activity()).idle == {}
        await sleeper.front.ask("/", "User-Agent: Mozilla/5.0", host=OTHER)
        assert (await sleeper.client.activity()).idle.keys() == {OTHER}

    async def test_a_request_with_a_body_is_of_a_visitor(self, sleeper: Sleeper) -> None:
        await sleeper.follow(after=0)
        response = await sleeper.front.ask("/", "User-Agent: mattermost-bot/1.1", method="POST", body=b"x")
        assert response.status == 200

    async def test_stager_itself_does_not_count(self, sleeper: Sleeper, app: App) -> None:
        await sleeper.front.serve({HOST: app.endpoint}, home=app.endpoint)
        for host in ("localhost", "whatever.test", DOMAIN):
            assert (await sleeper.front.ask(host=host)).status == 200
        assert (await sleeper.client.activity()).idle == {}

    async def test_an_open_websocket_counts(self, sleeper: Sleeper) -> None:
        await sleeper.wake()
        async with sleeper.front.dial() as (reader, writer):
            writer.write(request("/ws", "Connection: Upgrade", "Upgrade: websocket"))
            assert (await answered(reader)).status == 101
            await asyncio.sleep(2.5)
            assert (await sleeper.client.activity()).idle == {HOST: 0}
            awake = await sleeper.client.current()
            assert not await sleeper.client.park(awake, sleeper.asleep, {HOST}, 0)

    @pytest.mark.attack(
        "request to a sleeping private preview without access",
        profile="preview",
        result="it isn't woken; the visitor is sent to the login page, or gets 401",
    )
    async def test_who_may_not_see_it_does_not_wake_it(self, sleeper: Sleeper) -> None:
        guard = Guard(frozenset({"bypass"}), "1", f"https://{DOMAIN}/access", bypass="")
        asleep = sleeper.asleep.with_policies({HOST: AccessPolicy(guard)})
        await sleeper.client.apply(asleep)
        await sleeper.follow()
        assert (await sleeper.front.ask()).status == 401
        assert (await sleeper.front.ask("/", *NAVIGATION)).status == 302
        assert (await sleeper.front.ask("/", method="POST", body=b"x")).status == 401
        await asyncio.sleep(1.2)
        assert not sleeper.wakes
        assert (await sleeper.client.activity()).idle == {}

    async def test_who_may_see_it_wakes_it(self, sleeper: Sleeper, app: App) -> None:
        guard = Guard(frozenset({"password"}), "1", f"https://{DOMAIN}/access")
        asleep = sleeper.asleep.with_policies({HOST: AccessPolicy(guard)})
        await sleeper.client.apply(asleep)
        key = load_key(sleeper.front.state_dir)
        cookie = sign_token(AccessToken(HOST, "password", 1 << 40, "1"), "access", key)
        line = f"Cookie: stager-access={cookie}; mine=1"
        first, second = (asyncio.create_task(sleeper.front.ask(path, line)) for path in ("/1", "/2"))
        await sleeper.held(2)
        # One whose access is revoked meanwhile isn't served.
        revoked = AccessPolicy(Guard(frozenset({"password"}), "2", f"https://{DOMAIN}/access"))
        await sleeper.client.update(asleep, asleep.upsert(HOST, app.endpoint, revoked))
        assert {(await first).status, (await second).status} == {401}
        await sleeper.client.apply(asleep)
        third = asyncio.create_task(sleeper.front.ask("/3", line))
        await sleeper.held(1)
        await sleeper.client.update(asleep, asleep.upsert(HOST, app.endpoint, AccessPolicy(guard)))
        headers = (await third).json["headers"]
        assert isinstance(headers, dict)
        assert headers["cookie"] == "mine=1"


class TestLeaving:
    @pytest.mark.parametrize("how", ["close", "reset"])
    @pytest.mark.parametrize("what", ["get", "upload", "old"])
    async def test_a_client_that_leaves_is_released(
        self, sleeper: Sleeper, app: App, how: str, what: str
    ) -> None:
        sent = {
            "get": request("/left"),
            "upload": request("/left", "Content-Length: 9000000", method="POST") + bytes(30_000),
            "old": request("/left", minor=0),
        }[what]
        with socket.create_connection(("127.0.0.1", sleeper.front.port)) as client:
            client.sendall(sent)
            await sleeper.held(1)
            if how == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if (what, how) == ("old", "close"):
            # HTTP/1.0 has no interim response that would tell.
            await sleeper.wake()
        await sleeper.held(0)
        log = sleeper.front.state_dir / "access.log"
        async with asyncio.timeout(5):
            while not log.exists() or "/left" not in log.read_text():
                await asyncio.sleep(0.05)
        assert '"outcome": "client-closed"' in log.read_text() or what == "old"

    async def test_a_client_with_tls_that_leaves_is_released(self, tmp_path: Path, app: App) -> None:
        certificate, key = certificate_in(tmp_path)
        port, secure = free_port(), free_port()
        chosen = FrontOptions(
            listen=f"127.0.0.1:{port}",
            tls_listen=f"127.0.0.1:{secure}",
            tls_certificate=str(certificate),
            tls_key=str(key),
        )
        async with rig(tmp_path, chosen, port) as front:
            sleeper = Sleeper(front, app)
            await front.client.apply(sleeper.asleep)
            _, writer = await asyncio.open_connection("127.0.0.1", secure, ssl=trusting())
            writer.write(request())
            await sleeper.held(1)
            writer.transport.abort()
            await sleeper.held(0)


class TestLimits:
    async def test_the_number_of_held_requests_is_limited(self, tmp_path: Path, app: App) -> None:
        async with sleeping(tmp_path, app, held_requests=3) as sleeper:
            await sleeper.follow()
            asking = [asyncio.create_task(sleeper.front.ask(f"/{number}")) for number in range(3)]
            await sleeper.held(3)
            refused = await sleeper.front.ask()
            assert (refused.status, refused.headers["retry-after"]) == (503, "2")
            assert "Too many requests wait" in str(refused.json["detail"])
            await sleeper.wake()
            assert [(await task).status for task in asking] == [200] * 3
            await sleeper.held(0)

    async def test_a_refused_request_wakes_its_host_nevertheless(self, tmp_path: Path, app: App) -> None:
        async with sleeping(tmp_path, app, held_requests=1) as sleeper:
            await sleeper.client.apply(sleeper.asleep.upsert(OTHER, ASLEEP))
            await sleeper.follow()
            asking = asyncio.create_task(sleeper.front.ask(host=OTHER))
            await sleeper.held(1)
            assert (await sleeper.front.ask(host=HOST)).status == 503
            async with asyncio.timeout(5):
                while not sleeper.wakes[HOST]:
                    await asyncio.sleep(0.01)
            asking.cancel()

    @pytest.mark.attack(
        "hundreds of large uploads to a sleeping preview at once",
        profile="preview",
        result="the front reads the start of some, and refuses the others",
    )
    async def test_held_uploads_take_little_memory(self, tmp_path: Path, app: App) -> None:
        async with sleeping(tmp_path, app, held_bytes=1 << 20) as sleeper:
            before = resident(sleeper.front.hello.pid)
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(100):
                    _, writer = await stack.enter_async_context(sleeper.front.dial())
                    writer.write(request("/", "Content-Length: 99000000", method="POST") + bytes(2 << 20))
                await asyncio.sleep(1)
                assert 0 < (await sleeper.client.stats())["held"] < 100
                assert peak(sleeper.front.hello.pid) - before < 32 << 20


class TestHandOver:
    async def successor(self, sleeper: Sleeper) -> FrontLauncher:
        """A front with other options takes over."""
        launcher = FrontLauncher(sleeper.front.state_dir, options(sleeper.front.port, idle_seconds=70.0))
        before = sleeper.front.hello.pid
        assert (await launcher.ensure()).pid != before
        await sleeper.client.close()
        return launcher

    async def test_held_requests_are_passed_on(self, sleeper: Sleeper) -> None:
        async with sleeper.front.dial() as (reader, writer), sleeper.front.dial() as (other, second):
            writer.write(request("/upload", method="POST", body=BODY))
            second.write(request("/small") + request("/next", host=OTHER))
            await sleeper.held(2)
            launcher = await self.successor(sleeper)
            await sleeper.held(2)
            await sleeper.follow(after=0)
            assert (await answered(reader)).json["digest"] == DIGEST
            assert [(await answered(other)).json["target"] for _ in range(2)] == ["/small", "/next"]
        assert sleeper.wakes[HOST]
        launcher.release()

    async def test_held_requests_with_tls_stay_and_are_served(self, tmp_path: Path, app: App) -> None:
        """TLS connections can't be passed on. The old front follows the table of the new one."""
        certificate, key = certificate_in(tmp_path)
        port, secure = free_port(), free_port()

        def chosen(idle: float) -> FrontOptions:
            return FrontOptions(
                listen=f"127.0.0.1:{port}",
                tls_listen=f"127.0.0.1:{secure}",
                tls_certificate=str(certificate),
                tls_key=str(key),
                limits=Limits(idle_seconds=idle),
            )

        async with rig(tmp_path, chosen(75.0), port) as front:
            sleeper = Sleeper(front, app)
            await front.client.apply(sleeper.asleep)
            reader, writer = await asyncio.open_connection("127.0.0.1", secure, ssl=trusting())
            writer.write(request("/tls", method="POST", body=BODY))
            await sleeper.held(1)
            launcher = FrontLauncher(front.state_dir, chosen(70.0))
            await launcher.ensure()
            await front.client.close()
            await sleeper.held(0)  # by the new one
            await sleeper.follow(after=0)
            assert (await answered(reader)).json["digest"] == DIGEST
            writer.close()
            launcher.release()
            await sleeper.stop()

    async def test_the_activity_is_kept(self, sleeper: Sleeper) -> None:
        await sleeper.front.ask(host=OTHER)
        async with asyncio.timeout(5):
            while (before := await sleeper.client.activity()).idle_of([OTHER]) < 1:
                await asyncio.sleep(0.05)
        launcher = await self.successor(sleeper)
        after = await sleeper.client.activity()
        assert after.idle_of([OTHER]) >= before.idle_of([OTHER]) - 1
        assert after.uptime >= before.uptime - 1
        assert not (sleeper.front.state_dir / "activity.json").exists()
        launcher.release()

    async def test_nothing_is_parked_while_the_predecessor_answers(self, sleeper: Sleeper, app: App) -> None:
        """It may have an open request, of which the successor doesn't know."""
        async with sleeper.front.dial() as (reader, writer):
            writer.write(request("/wait", host=OTHER))
            await asyncio.sleep(0.2)
            launcher = await self.successor(sleeper)
            now = await sleeper.client.current()
            parked = now.upsert(OTHER, ASLEEP)
            assert not await sleeper.client.park(now, parked, {OTHER}, 0)
            app.go.set()
            assert (await answered(reader)).status == 200
            async with asyncio.timeout(10):
                while not await sleeper.client.park(now, parked, {OTHER}, 0):
                    await asyncio.sleep(0.05)
        launcher.release()

    async def test_a_control_plane_that_returns_is_told_what_waits(self, sleeper: Sleeper) -> None:
        asking = asyncio.create_task(sleeper.front.ask())
        await sleeper.held(1)
        await sleeper.client.close()
        await asyncio.sleep(1.5)
        sleeper.client = FrontClient(sleeper.front.state_dir)
        await sleeper.follow(after=0)
        assert (await asking).status == 200
        await sleeper.client.close()

    async def test_a_front_that_is_killed_answers_again(self, sleeper: Sleeper) -> None:
        """The client of a held request is cut; its next one is held again."""
        async with sleeper.front.dial() as (reader, writer):
            writer.write(request())
            await sleeper.held(1)
            os.kill(sleeper.front.hello.pid, signal.SIGKILL)
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
        await sleeper.front.client.until_gone()
        await sleeper.front.launcher.ensure()
        await sleeper.follow(after=0)
        assert (await sleeper.front.ask()).status == 200


async def test_park_refuses_ingress_ports(sleeper: Sleeper) -> None:
    ports = RouteTable(sleeper.asleep.routes, DOMAIN, None, {free_port(): HOST})
    with pytest.raises(Fault, match="ingress ports"):
        await sleeper.client.park(sleeper.asleep, ports, set(), 0)


async def test_a_request_that_was_on_its_way_gets_the_page_of_a_host_that_wakes(
    sleeper: Sleeper, app: App
) -> None:
    """Its endpoint is gone before it was connected, and the host sleeps by then: it can't be held now."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        stuck = Endpoint("127.0.0.1", full.getsockname()[1])
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", stuck.port))
        await sleeper.client.apply(sleeper.asleep.upsert(HOST, stuck))
        asking = asyncio.create_task(sleeper.front.ask())
        await asyncio.sleep(0.3)
        await sleeper.client.apply(sleeper.asleep)
        for filler in fillers:
            filler.close()
    response = await asking
    assert (response.status, response.json["state"]) == (503, "waking")
