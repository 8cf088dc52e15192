"""The front as a process: changed under load, drained, killed, replaced, limited, and sent invalid lines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from stager.domain.errors import Fault, Retry
from stager.domain.route import Endpoint, Page, RouteTable, Target
from stager.domain.traffic import FrontEvent, FrontEventKind
from stager.front.http.limits import Limits
from stager.front.process.client import FrontClient
from stager.front.process.launcher import FrontLauncher, FrontOptions
from stager.front.process.sockets import listen
from tests.unit.front.harness import (
    DOMAIN,
    HOST,
    App,
    Reader,
    Rig,
    Writer,
    certificate_in,
    free_port,
    read_response,
    request,
    rig,
    trusting,
)


@pytest.fixture
async def front(tmp_path: Path, app: App) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as running:
        await running.serve({HOST: app.endpoint})
        yield running


def with_tls(folder: Path) -> tuple[FrontOptions, int]:
    """Options of a front that serves HTTPS too, and its port for that."""
    certificate, key = certificate_in(folder)
    secure = free_port()
    options = FrontOptions(
        listen=f"127.0.0.1:{free_port()}",
        tls_listen=f"127.0.0.1:{secure}",
        tls_certificate=str(certificate),
        tls_key=str(key),
    )
    return options, secure


class Load:
    """Clients that ask all the time, on kept connections and on new ones, and count what they get."""

    def __init__(self, port: int, clients: int = 8) -> None:
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._port = port
        self._over = False
        self._clients = clients
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self._clients)]
        await self.until(50)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), 20)

    async def until(self, more: int) -> None:
        """Wait for so many answers more."""
        goal = self.seen.total() + more
        async with asyncio.timeout(20):
            while self.seen.total() < goal:
                await asyncio.sleep(0.005)

    async def _client(self, number: int) -> None:
        while not self._over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                with contextlib.closing(writer):
                    await self._ask(reader, writer, 1 if number % 2 else 1_000_000)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.wrong.append(repr(error))

    async def _ask(self, reader: Reader, writer: Writer, times: int) -> None:
        for turn in range(times):
            method = "POST" if turn % 3 == 2 else "GET"
            writer.write(request(f"/{turn}", method=method, body=b"body" if method == "POST" else b""))
            response = await read_response(reader)
            if response.status == 200:
                self.seen[str(response.json["app"])] += 1
            else:
                self.wrong.append(f"{response.status} {response.body!r}")
            if self._over or response.headers.get("connection") == "close":
                return


class TestChanges:
    @pytest.mark.requirement("R57")
    async def test_no_request_fails_during_fifty_refreshes(self, front: Rig, app: App) -> None:
        old, table = app, RouteTable({HOST: app.endpoint}, DOMAIN)
        async with Load(front.port) as load:
            for number in range(50):
                new = App(str(number))
                target = await new.start()
                after = table.upsert(HOST, target)
                await front.client.update(table, after)
                assert await front.client.drain(old.endpoint, 5) == 0
                await old.stop()
                old, table = new, after
                await load.until(20)
        assert load.wrong == []
        assert load.seen["49"] > 0
        await old.stop()

    async def test_a_request_stays_with_the_app_that_has_it(self, front: Rig, app: App) -> None:
        new = App("new")
        await new.start()
        async with front.dial() as (reader, writer):
            writer.write(request("/wait"))
            await asyncio.sleep(0.1)
            await front.serve({HOST: new.endpoint})
            assert (await front.ask()).json["app"] == "new"
            draining = asyncio.create_task(front.client.drain(app.endpoint, 10))
            await asyncio.sleep(0.1)
            assert not draining.done()
            app.go.set()
            assert (await read_response(reader)).json["app"] == "app"
            assert await asyncio.wait_for(draining, 5) == 0
            # The same connection follows the new table.
            writer.write(request())
            assert (await read_response(reader)).json["app"] == "new"
        await asyncio.wait_for(app.hung_up.wait(), 5)
        await new.stop()

    async def test_a_drain_cuts_what_does_not_end(self, front: Rig, app: App) -> None:
        async with front.dial() as (reader, writer), front.dial() as (other, waiting):
            writer.write(request("/ws", "Connection: Upgrade", "Upgrade: websocket"))
            waiting.write(request("/wait"))
            await read_response(reader)
            await asyncio.sleep(0.1)
            await front.serve({HOST: Page("stopped")})
            assert await front.client.drain(app.endpoint, 0.2) == 2
            for cut in (reader, other):
                with contextlib.suppress(ConnectionResetError):
                    assert await asyncio.wait_for(cut.read(), 5) in {b"hi", b""}

    async def test_a_refused_connection_follows_the_table(self, front: Rig, app: App) -> None:
        """The old app is gone before the front has connected, but the table leads elsewhere by then."""
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            stuck = Endpoint("127.0.0.1", full.getsockname()[1])
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", stuck.port))
            await front.serve({HOST: stuck})
            asking = asyncio.create_task(front.ask())
            await asyncio.sleep(0.3)
            await front.serve({HOST: app.endpoint})
            for filler in fillers:
                filler.close()
        assert (await asyncio.wait_for(asking, 15)).json["app"] == "app"

    async def test_ten_thousand_routes(self, front: Rig, app: App) -> None:
        routes: dict[str, Target] = {f"h{number}.{DOMAIN}": app.endpoint for number in range(10_000)}
        table = await front.serve(routes)
        for number in range(20):
            after = table.upsert(f"new{number}.{DOMAIN}", app.endpoint)
            await front.client.update(table, after)
            table = after
        assert (await front.ask(host=f"new7.{DOMAIN}")).status == 200
        assert await front.client.current() == table
        assert (await front.client.stats())["routes"] == 10_020


class TestLife:
    async def test_killed_it_is_back_at_once_with_its_table(self, front: Rig) -> None:
        keeping = asyncio.create_task(front.launcher.keep())
        await asyncio.sleep(0.2)
        table = await front.client.current()
        pid = front.hello.pid
        for _ in range(3):
            os.kill(pid, signal.SIGKILL)
            # Nobody is refused meanwhile: the connection waits in the queue.
            assert (await front.ask()).status == 200
            pid = await _successor(front.client, pid)
            assert await front.client.current() == table
        keeping.cancel()

    async def test_a_launcher_finds_the_front_that_runs(self, front: Rig) -> None:
        other = FrontLauncher(front.state_dir, front.options)
        assert (await other.ensure()).pid == front.hello.pid
        other.release()

    @pytest.mark.attack(
        "X-Forwarded-For from this machine while trusted_proxies is empty",
        profile="preview",
        result="it is replaced by the client's real address",
    )
    async def test_no_trusted_proxy_is_none_at_all(self, front: Rig) -> None:
        """A front that trusts this machine is replaced by one that trusts no address, and vice versa."""

        async def heard() -> str:
            answer = await front.ask("/", "X-Forwarded-For: 203.0.113.9")
            return str(json.loads(answer.body)["headers"]["x-forwarded-for"])

        async def heard_after(trusted: tuple[str, ...]) -> tuple[int, str]:
            options = FrontOptions(listen=f"127.0.0.1:{front.port}", trusted_proxies=trusted)
            successor = FrontLauncher(front.state_dir, options)
            pid = (await successor.ensure()).pid
            successor.release()
            return pid, await heard()

        assert await heard() == "203.0.113.9, 127.0.0.1"
        nobody, address = await heard_after(())
        assert (address, nobody != front.hello.pid) == ("127.0.0.1", True)
        assert await heard_after(()) == (nobody, "127.0.0.1")
        again, address = await heard_after(("127.0.0.0/8",))
        assert (address, again != nobody) == ("203.0.113.9, 127.0.0.1", True)

    async def test_no_request_fails_while_one_front_replaces_another(self, front: Rig) -> None:
        table = await front.client.current()
        pids = [front.hello.pid]
        async with Load(front.port) as load:
            for number in range(3):
                limits = Limits(idle_seconds=70.0 + number)
                successor = FrontLauncher(
                    front.state_dir, FrontOptions(listen=f"127.0.0.1:{front.port}", limits=limits)
                )
                pids.append((await successor.ensure()).pid)
                successor.release()
                await load.until(100)
            assert len(set(pids)) == 4
        assert load.wrong == []
        client = FrontClient(front.state_dir)
        assert await client.current() == table
        await client.close()
        for _ in range(100):
            if not any(_runs(pid) for pid in pids[:-1]):
                return
            await asyncio.sleep(0.1)
        pytest.fail("a front that was replaced goes on")

    async def test_an_idle_connection_is_served_by_the_new_table(self, front: Rig) -> None:
        """The front that is replaced answers no more request, not even on a connection that it has open."""
        new = App("new")
        async with contextlib.AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(front.dial()) for _ in range(300)]
            for reader, writer in opened:
                writer.write(request())
                assert (await read_response(reader)).json["app"] == "app"
            opened[0][1].write(request()[:20])  # the beginning of the next request
            await asyncio.sleep(0.1)
            await _replaced(front, {HOST: await new.start()})
            opened[0][1].write(request()[20:])
            for _, writer in opened[1:]:
                writer.write(request())
            for reader, _ in opened:
                response = await asyncio.wait_for(read_response(reader), 5)
                assert (response.json["app"], response.headers.get("connection")) == ("new", None)
            reader, writer = opened[1]
            writer.write(request(method="POST", body=b"more"))
            assert (await asyncio.wait_for(read_response(reader), 5)).json["size"] == 4
        await new.stop()

    async def test_a_busy_connection_gets_its_response_and_no_other(self, front: Rig, app: App) -> None:
        new = App("new")
        async with front.dial() as (reader, writer), front.dial() as (streaming, late):
            writer.write(request("/wait") + request("/pipelined"))
            late.write(request("/slow"))
            await streaming.readuntil(b"begun")
            await _replaced(front, {HOST: await new.start()})
            app.go.set()
            response = await asyncio.wait_for(read_response(reader), 5)
            assert (response.json["app"], response.headers["connection"]) == ("app", "close")
            assert await asyncio.wait_for(reader.read(), 5) == b""
            # Its head, without `Connection: close`, had been sent before.
            assert await asyncio.wait_for(streaming.readexactly(5), 5) == b"ended"
            late.write(request())
            assert (await asyncio.wait_for(read_response(streaming), 5)).json["app"] == "new"
        await new.stop()

    async def test_an_idle_tls_connection_is_closed(self, tmp_path: Path, app: App) -> None:
        options, secure = with_tls(tmp_path)
        async with rig(tmp_path, options) as running:
            await running.serve({HOST: app.endpoint})
            reader, writer = await asyncio.open_connection("127.0.0.1", secure, ssl=trusting())
            writer.write(request())
            assert (await read_response(reader)).status == 200
            await _replaced(running, {HOST: Page("gone")})
            assert await asyncio.wait_for(reader.read(), 1) == b""
            writer.close()

    async def test_it_outlives_the_process_that_started_it(self, tmp_path: Path, app: App) -> None:
        port = free_port()
        code = (
            "import asyncio, os, pathlib\n"
            "from stager.front.process.launcher import FrontLauncher, FrontOptions\n"
            f"options = FrontOptions(listen='127.0.0.1:{port}')\n"
            f"launcher = FrontLauncher(pathlib.Path({str(tmp_path)!r}), options)\n"
            "print(asyncio.run(launcher.ensure()).pid, flush=True)\n"
            "os.kill(os.getpid(), 9)\n"
        )
        run = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", code], capture_output=True, timeout=30, check=False
        )
        async with rig(tmp_path, port=port) as running:
            assert running.hello.pid == int(run.stdout)
            await running.serve({HOST: app.endpoint})
            assert (await running.ask()).status == 200

    async def test_sigterm_lets_requests_end(self, front: Rig, app: App) -> None:
        async with front.dial() as (reader, writer):
            writer.write(request("/wait"))
            await asyncio.sleep(0.1)
            os.kill(front.hello.pid, signal.SIGTERM)
            await asyncio.sleep(0.2)
            app.go.set()
            response = await read_response(reader)
            assert (response.status, response.headers["connection"]) == (200, "close")
        async with asyncio.timeout(5):
            while _runs(front.hello.pid):
                await asyncio.sleep(0.05)
        assert not (front.state_dir / "front.sock").exists()

    async def test_a_port_in_use(self, tmp_path: Path) -> None:
        with contextlib.closing(listen("plain", "127.0.0.1:0").socket) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(Fault, match=f"127.0.0.1:{port}: another program uses port {port}") as caught:
                await FrontLauncher(tmp_path, FrontOptions(listen=f"127.0.0.1:{port}")).ensure()
            assert caught.value.reason == "port-taken"

    @pytest.mark.parametrize("listen_at", ["nonsense", "127.0.0.1:99999", "192.0.2.1:80"])
    async def test_an_address_that_is_none(self, tmp_path: Path, listen_at: str) -> None:
        with pytest.raises(Fault, match="The front did not start"):
            await FrontLauncher(tmp_path, FrontOptions(listen=listen_at)).ensure()

    async def test_two_fronts_in_one_directory(self, front: Rig) -> None:
        run = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "stager.front", f"--state-dir={front.state_dir}", "--listen=127.0.0.1:0"],
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert run.returncode == 1
        assert b"Another front runs in" in run.stderr

    async def test_sighup_reopens_the_log(self, front: Rig) -> None:
        log = front.state_dir / "access.log"
        await front.ask("/before")
        log.rename(log.with_name("moved.log"))
        os.kill(front.hello.pid, signal.SIGHUP)
        await asyncio.sleep(0.2)
        await front.ask("/after")
        await asyncio.sleep(1.2)
        assert '"/before"' in log.with_name("moved.log").read_text()
        assert '"/after"' in log.read_text()


class TestControl:
    async def test_nonsense_is_answered(self, front: Rig) -> None:
        reader, writer = await asyncio.open_unix_connection(front.state_dir / "front.sock")
        assert json.loads(await reader.readline())["hello"] == "stager-front"
        for line in (
            b"nonsense",
            b"[]",
            b"{}",
            b'{"id": 1, "do": "fly"}',
            b'{"id": 1, "do": "apply"}',
            b'{"id": 1, "do": "apply", "table": 7}',
            b'{"id": 1, "do": "update", "upserts": {"a": {}}}',
            b'{"id": 1, "do": "update", "upserts": []}',
            b'{"id": 1, "do": "drain", "endpoint": {"address": "x", "port": "y"}}',
        ):
            writer.write(line + b"\n")
            reply = json.loads(await asyncio.wait_for(reader.readline(), 5))
            assert reply["error"], line
        writer.write(b'{"id": 2, "do": "stats"}\n')
        assert json.loads(await reader.readline())["ok"]
        writer.close()
        assert (await front.ask()).status == 200

    async def test_only_its_owner_may_connect_to_it(self, front: Rig) -> None:
        for name in ("front.sock", "handover.sock"):
            assert (front.state_dir / name).stat().st_mode & 0o777 == 0o600

    async def test_away(self, tmp_path: Path) -> None:
        client = FrontClient(tmp_path)
        with pytest.raises(Retry) as caught:
            await client.current()
        assert caught.value.reason == "front-away"

    async def test_events_report_when_it_appears_and_disappears(self, front: Rig) -> None:
        events = front.client.messages()
        assert (await anext(events))["event"] == "connected"
        keeping = asyncio.create_task(front.launcher.keep())
        await asyncio.sleep(0.1)
        os.kill(front.hello.pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            assert (await anext(events))["event"] == "away"
            assert (await anext(events))["event"] == "connected"
        await events.aclose()
        keeping.cancel()


class TestLimits:
    @pytest.fixture
    async def strict(self, tmp_path: Path, app: App) -> AsyncIterator[Rig]:
        port = free_port()
        limits = Limits(
            head_seconds=0.5,
            body_seconds=0.5,
            idle_seconds=0.5,
            connect_seconds=0.5,
            response_seconds=1.5,
            upstream_seconds=4.0,
            connections=6,
            head_bytes=8192,
            line_bytes=4096,
        )
        options = FrontOptions(listen=f"127.0.0.1:{port}", limits=limits)
        async with rig(tmp_path, options, port) as running:
            await running.serve({HOST: app.endpoint})
            yield running

    async def test_a_head_that_does_not_arrive(self, strict: Rig) -> None:
        assert (await strict.say(b"GET / HTTP/1.1\r\n")).startswith(b"HTTP/1.1 408 ")

    async def test_a_body_that_does_not_arrive(self, strict: Rig) -> None:
        answer = await strict.say(request("/", "Content-Length: 9", method="POST") + b"1")
        assert answer.startswith(b"HTTP/1.1 408 ")

    async def test_an_idle_connection(self, strict: Rig) -> None:
        async with strict.dial() as (reader, writer):
            writer.write(request())
            await read_response(reader)
            assert await asyncio.wait_for(reader.read(), 10) == b""

    async def test_a_silent_app(self, strict: Rig) -> None:
        response = await strict.ask("/silence")
        assert (response.status, response.json["state"]) == (504, "no-response")
        assert "within 1.5 s" in str(response.json["detail"])

    async def test_an_app_that_is_silent_after_an_upload(self, strict: Rig) -> None:
        async with strict.dial() as (reader, writer):
            writer.write(request("/silence", "Content-Length: 4", method="POST") + b"bo")
            await asyncio.sleep(0.1)
            writer.write(b"dy")
            began = time.monotonic()
            assert (await asyncio.wait_for(read_response(reader), 10)).status == 504
            assert time.monotonic() - began > 1.3

    async def test_an_answer_that_has_begun_may_pause_for_longer(self, strict: Rig, app: App) -> None:
        async with strict.dial() as (reader, writer):
            writer.write(request("/sse"))
            await reader.readuntil(b"data: 0\n\n")
            await asyncio.sleep(2.8)
            app.go.set()
            await asyncio.wait_for(reader.readuntil(b"data: 1\n\n"), 2)

    async def test_an_open_websocket_may_be_silent_for_longer(self, strict: Rig) -> None:
        async with strict.dial() as (reader, writer):
            writer.write(request("/ws", "Connection: Upgrade", "Upgrade: websocket"))
            await reader.readuntil(b"\r\n\r\nhi")
            await asyncio.sleep(2.8)
            writer.write(b"ping")
            assert await asyncio.wait_for(reader.readexactly(4), 2) == b"ping"

    async def test_stager_itself_may_take_longer(self, strict: Rig, app: App) -> None:
        await strict.serve({HOST: app.endpoint}, home=app.endpoint)
        async with strict.dial() as (reader, writer):
            writer.write(request("/wait", host=DOMAIN))
            await asyncio.sleep(2.8)
            app.go.set()
            assert (await asyncio.wait_for(read_response(reader), 2)).status == 200

    async def test_that_it_is_unresponsive_is_reported_at_once_and_that_it_is_over(self, strict: Rig) -> None:
        changed: asyncio.Queue[FrontEvent] = asyncio.Queue()
        health = FrontEvent(FrontEventKind.HEALTH, HOST)

        async def listen() -> None:
            async for event in strict.client.events():
                changed.put_nowait(event)

        listening = asyncio.create_task(listen())
        assert (await asyncio.wait_for(changed.get(), 5)).kind is FrontEventKind.CONNECTED
        await asyncio.gather(*(strict.ask("/silence") for _ in range(3)))
        assert await asyncio.wait_for(changed.get(), 5) == health
        assert (await strict.client.health()).unresponsive == {HOST}
        await strict.ask("/")
        assert await asyncio.wait_for(changed.get(), 5) == health
        assert (await strict.client.health()).unresponsive == set()
        listening.cancel()

    async def test_the_third_silence_in_a_row_makes_it_unresponsive(self, strict: Rig, app: App) -> None:
        async def unresponsive() -> object:
            return (await strict.client.stats())["unresponsive"]

        for _ in range(2):
            await strict.ask("/silence")
        await strict.ask("/")  # an answer between them
        await asyncio.gather(*(strict.ask("/silence") for _ in range(2)))
        assert await unresponsive() == []
        await strict.ask("/silence")
        assert await unresponsive() == [HOST]
        await strict.ask("/")
        assert await unresponsive() == []
        await asyncio.gather(*(strict.ask("/silence") for _ in range(3)))
        assert await unresponsive() == [HOST]
        other = App("other")
        await strict.serve({HOST: await other.start()})
        assert await unresponsive() == [], "another app is another one"
        await other.stop()

    async def test_a_client_that_does_not_read(self, strict: Rig, app: App) -> None:
        async with strict.dial() as (_, writer):
            writer.write(request("/big?200"))
            await asyncio.wait_for(app.hung_up.wait(), 15)

    async def test_long_lines_and_heads(self, strict: Rig) -> None:
        assert (await strict.say(request("/" + "a" * 5000))).startswith(b"HTTP/1.1 414 ")
        assert (await strict.say(request("/", "X: " + "a" * 9000))).startswith(b"HTTP/1.1 431 ")
        assert (await strict.ask("/" + "a" * 4000)).status == 200

    async def test_too_many_connections(self, strict: Rig) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(6):
                await stack.enter_async_context(strict.dial())
            await asyncio.sleep(0.1)
            assert (await strict.say(b"")).startswith(b"HTTP/1.1 503 ")


class TestTls:
    async def test_https(self, tmp_path: Path, app: App) -> None:
        certificate, key = certificate_in(tmp_path)
        plain, secure = free_port(), free_port()
        options = FrontOptions(
            listen=f"127.0.0.1:{plain}",
            tls_listen=f"127.0.0.1:{secure}",
            tls_certificate=str(certificate),
            tls_key=str(key),
        )
        async with rig(tmp_path, options, plain) as running:
            await running.serve({HOST: app.endpoint})
            first = await _peer(secure)
            assert await _forwarded_proto(secure) == "https"
            certificate_in(tmp_path)
            os.kill(running.hello.pid, signal.SIGHUP)
            await asyncio.sleep(0.3)
            assert await _peer(secure) != first
            certificate.write_text("nonsense")
            os.kill(running.hello.pid, signal.SIGHUP)
            await asyncio.sleep(0.3)
            assert await _forwarded_proto(secure) == "https"

    async def test_big_bodies_over_tls(self, tmp_path: Path, app: App) -> None:
        options, secure = with_tls(tmp_path)
        async with rig(tmp_path, options) as running:
            await running.serve({HOST: app.endpoint})
            reader, writer = await asyncio.open_connection("127.0.0.1", secure, ssl=trusting())
            writer.write(request("/", method="POST", body=bytes(20 << 20)))
            assert (await asyncio.wait_for(read_response(reader), 20)).json["size"] == 20 << 20
            writer.write(request("/big?20"))
            assert len((await asyncio.wait_for(read_response(reader), 20)).body) == 20 << 20
            writer.write(request(host=f"nobody.{DOMAIN}", method="POST", body=b"x"))
            assert (await asyncio.wait_for(read_response(reader), 20)).status == 404
            writer.close()


async def _replaced(front: Rig, routes: dict[str, Target]) -> None:
    """Another front replaces the running one, and serves these routes."""
    limits = Limits(idle_seconds=71.0)
    successor = FrontLauncher(front.state_dir, replace(front.options, limits=limits))
    assert (await successor.ensure()).pid != front.hello.pid
    successor.release()
    client = FrontClient(front.state_dir)
    await client.apply(RouteTable(routes, DOMAIN))
    await client.close()


async def _successor(client: FrontClient, pid: int) -> int:
    """The process that serves once the one called `pid` is gone."""
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(Retry):
                hello = await client.connect()
                if hello.pid != pid:
                    return hello.pid
            await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def _peer(port: int) -> bytes | None:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting())
    try:
        peer: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return peer
    finally:
        writer.close()


async def _forwarded_proto(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting())
    try:
        writer.write(request())
        headers = (await read_response(reader)).json["headers"]
        assert isinstance(headers, dict)
        return str(headers["x-forwarded-proto"])
    finally:
        writer.close()
