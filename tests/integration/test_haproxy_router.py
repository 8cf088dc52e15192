"""HAProxy's file with the previews: a real HAProxy, a real front, and everything that can go wrong between
them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from stager.domain.errors import Fault, Retry
from stager.domain.route import Endpoint, Page, RouteTable
from stager.routers.haproxy import (
    ConfigTemplate,
    Haproxy,
    HaproxyRouter,
    Site,
    Target,
    load_template,
    shipped_template,
)
from tests.integration.haproxy import BINARY, HaproxyUnderTest, running_haproxy
from tests.unit.docs.pages import samples
from tests.unit.front.harness import (
    DOMAIN,
    App,
    Reader,
    Request,
    Rig,
    Writer,
    certificate_in,
    free_port,
    read_head,
    read_response,
    request,
    rig,
)

pytestmark = pytest.mark.skipif(not Path(BINARY).exists(), reason="no HAProxy: scripts/test installs one")

A, B, C = (f"{name}.{DOMAIN}" for name in "abc")
NOWHERE = Endpoint("127.0.0.1", 9)


@dataclass
class HaproxyRig:
    """An HAProxy and the router that configures it."""

    haproxy: HaproxyUnderTest
    scratch: Path
    front: str
    router: HaproxyRouter

    def another(self, text: str = "", **commands: list[str]) -> HaproxyRouter:
        """A router with another template or other commands, as after a restart with another configuration."""
        given = {**self.haproxy.commands, **commands}
        return HaproxyRouter(
            template=ConfigTemplate("mine.cfg", text) if text else shipped_template(),
            site=Site(f"127.0.0.1:{self.haproxy.port}", self.front),
            target=Target(self.haproxy.target, self.scratch, "test-me"),
            haproxy=Haproxy(given["test_command"], given["reload_command"]),
        )

    @property
    def text(self) -> str:
        return self.haproxy.target.read_text()


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path / "front") as running:
        yield running


@pytest.fixture
def haproxy_rig(tmp_path: Path, front: Rig) -> Iterator[HaproxyRig]:
    with running_haproxy(tmp_path / "haproxy") as haproxy:
        rig = HaproxyRig(haproxy, tmp_path / "scratch", f"127.0.0.1:{front.port}", None)  # type: ignore[arg-type]
        rig.router = rig.another()
        yield rig
        assert haproxy.refuses() == "", "whatever happened, HAProxy can be started again"


@contextlib.asynccontextmanager
async def application(name: str) -> AsyncIterator[App]:
    app = App(name)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


def table(*hosts: str, first: int = 4001) -> RouteTable:
    """These hosts, each with an ingress port that leads nowhere."""
    return RouteTable(dict.fromkeys(hosts, NOWHERE), DOMAIN, None, dict(enumerate(hosts, first)))


def served(**apps: App) -> RouteTable:
    """These applications by their label, each with an ingress port."""
    routes = {f"{label}.{DOMAIN}": app.endpoint for label, app in apps.items()}
    return RouteTable(dict(routes), DOMAIN, None, {free_port(): host for host in routes})


async def soon(haproxy: HaproxyUnderTest, host: str, wanted: int, path: str = "/") -> str:
    """What HAProxy answers once it has followed a reload: its new worker begins a moment later."""
    deadline = time.monotonic() + 10
    seen = "nobody listens"
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            answer = await asyncio.to_thread(haproxy.get, host, path)
            if answer.status_code == wanted:
                return answer.text
            seen = f"{answer.status_code} {answer.text}"
        await asyncio.sleep(0.02)
    raise AssertionError(seen)


class TestFile:
    async def test_each_preview_has_a_backend_and_is_reached_by_it(
        self, haproxy_rig: HaproxyRig, front: Rig
    ) -> None:
        async with application("first") as first, application("second") as second:
            routes = served(a=first, b=second).upsert(C, Page("stopped", "c"))
            await front.client.apply(routes)
            assert await haproxy_rig.router.apply(routes) == {}
            assert haproxy_rig.haproxy.backends() == [A, B]
            seen = json.loads(await soon(haproxy_rig.haproxy, A, 200))
            assert (seen["app"], seen["headers"]["host"]) == ("first", A)
            assert seen["headers"]["x-forwarded-proto"] == "http"
            assert json.loads(await soon(haproxy_rig.haproxy, B, 200))["app"] == "second"
            assert json.loads(await soon(haproxy_rig.haproxy, f"B.{DOMAIN}:80", 200))["app"] == "second"
            assert "c" in await soon(haproxy_rig.haproxy, C, 503)
            assert await soon(haproxy_rig.haproxy, f"never-heard-of.{DOMAIN}", 404)

    async def test_a_removed_preview_gets_its_page(self, haproxy_rig: HaproxyRig, front: Rig) -> None:
        async with application("first") as first, application("second") as second:
            before = served(a=first, b=second)
            await front.client.apply(before)
            await haproxy_rig.router.apply(before)
            await soon(haproxy_rig.haproxy, A, 200)
            after = before.upsert(A, Page("gone"))
            await front.client.apply(after)
            assert (await asyncio.to_thread(haproxy_rig.haproxy.get, A)).status_code in {410, 503}
            assert await haproxy_rig.router.apply(after) == {}
            assert haproxy_rig.haproxy.backends() == [B]
            await soon(haproxy_rig.haproxy, A, 410)

    async def test_a_visitor_can_t_say_who_he_is(self, haproxy_rig: HaproxyRig, front: Rig) -> None:
        async with application("app") as app:
            await front.client.apply(served(a=app))
            await haproxy_rig.router.apply(RouteTable())
            await soon(haproxy_rig.haproxy, A, 200)
            lies = {"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6",
                    "X-Forwarded-Host": "evil.test", "X-Forwarded-Port": "666"}  # fmt: skip
            seen = (await asyncio.to_thread(lambda: haproxy_rig.haproxy.get(A, **lies))).text
            assert "6.6.6.6" not in seen
            assert "evil.test" not in seen
            assert "666" not in seen

    async def test_a_visitor_can_t_choose_a_backend(self, haproxy_rig: HaproxyRig, front: Rig) -> None:
        """By a `Host` that is the name of another backend, such as one of the administrator's own."""
        own = f"backend internal\n    mode http\n    server own 127.0.0.1:{haproxy_rig.haproxy.port}\n"
        (haproxy_rig.haproxy.target.parent / "own.cfg").write_text(own)
        async with application("app") as app:
            await front.client.apply(served(a=app))
            await haproxy_rig.router.apply(table(A))
            await soon(haproxy_rig.haproxy, f"never-heard-of.{DOMAIN}", 404)
            for name in ("internal", "stager:internal", "stager_front", f"../{A}"):
                answer = await asyncio.to_thread(haproxy_rig.haproxy.get, name)
                assert answer.status_code in {400, 404, 503}, name
                assert "app" not in answer.headers

    async def test_the_same_again_doesn_t_reload(self, haproxy_rig: HaproxyRig, tmp_path: Path) -> None:
        marker = tmp_path / "reloads"
        counting = haproxy_rig.another(reload_command=["sh", "-c", f"echo x >>{marker}"])
        for _ in range(3):
            assert await counting.apply(table(A, B)) == {}
        assert marker.read_text() == "x\n"

    async def test_hosts_that_could_change_the_file_are_left_out(self, haproxy_rig: HaproxyRig) -> None:
        hostile = f"x\n    server evil 6.6.6.6:80\n.{DOMAIN}"
        problems = await haproxy_rig.router.apply(table(A, hostile, f"a b.{DOMAIN}", f"%[src].{DOMAIN}"))
        assert problems.keys() == {hostile, f"a b.{DOMAIN}", f"%[src].{DOMAIN}"}
        assert haproxy_rig.haproxy.backends() == [A]
        assert "6.6.6.6" not in haproxy_rig.text


class TestRejections:
    REJECTS_B = (
        "defaults\n    mode http\n    timeout connect 5s\n    timeout client 5s\n    timeout server 5s\n"
        "frontend f\n    bind {{ bind }}\n    default_backend b\nbackend b\n    server front {{ front }}\n"
        "{% for preview in previews %}\n"
        "backend stager:{{ preview.slug }}.{{ preview.host }}\n"
        "    server front 127.0.0.1:{{ preview.port }}{{ ' nonsense' if preview.slug == 'b' }}\n"
        "{% endfor %}\n"
    )

    async def test_one_that_haproxy_rejects_is_left_out(self, haproxy_rig: HaproxyRig) -> None:
        router = haproxy_rig.another(self.REJECTS_B)
        await router.check()
        problems = await router.apply(table(A, B, C))
        assert problems.keys() == {B}
        assert "unknown keyword 'nonsense'" in problems[B]
        assert "line 12 of the rendered template" in problems[B]
        assert haproxy_rig.haproxy.backends() == [A, C]

    async def test_what_haproxy_never_accepts_changes_nothing(self, haproxy_rig: HaproxyRig) -> None:
        await haproxy_rig.router.apply(table(A))
        before = haproxy_rig.text
        for text, words in (
            ("frontend f\n    lisen x\n", r"unknown keyword 'lisen'.*, line 2"),
            ("nonsense\n", "nonsense"),
        ):
            router = haproxy_rig.another(text)
            with pytest.raises(Fault, match=r"HAProxy rejects the output of mine\.cfg") as caught:
                await router.check()
            assert caught.value.reason == "haproxy-template"
            with pytest.raises(Fault, match="HAProxy rejects its configuration") as caught:
                await router.apply(table(B))
            assert caught.value.reason == "haproxy-refused"
            assert haproxy_rig.text == before, words
        await soon(haproxy_rig.haproxy, A, 503)

    async def test_a_reload_that_fails_is_taken_back(self, haproxy_rig: HaproxyRig) -> None:
        await haproxy_rig.router.apply(table(A, B))
        before = haproxy_rig.text
        sulking = haproxy_rig.another(reload_command=["sh", "-c", "echo 'not today' >&2; exit 1"])
        with pytest.raises(Fault, match="not today") as caught:
            await sulking.apply(table(B, C))
        assert caught.value.reason == "haproxy-reload"
        assert "reload_command" in caught.value.hint
        assert haproxy_rig.text == before
        assert await haproxy_rig.router.apply(table(B, C)) == {}
        assert haproxy_rig.haproxy.backends() == [B, C]

    async def test_the_first_file_is_taken_back_as_well(self, haproxy_rig: HaproxyRig) -> None:
        sulking = haproxy_rig.another(reload_command=["false"])
        with pytest.raises(Fault):
            await sulking.apply(table(A))
        assert list(haproxy_rig.haproxy.target.parent.iterdir()) == []

    async def test_another_s_file_is_never_replaced(self, haproxy_rig: HaproxyRig) -> None:
        haproxy_rig.haproxy.target.write_text("# mine\n")
        with pytest.raises(Fault, match="wasn't created by this Stager") as caught:
            await haproxy_rig.router.apply(table(A))
        assert caught.value.reason == "haproxy-target"
        assert haproxy_rig.text == "# mine\n"
        haproxy_rig.haproxy.target.unlink()
        elsewhere = haproxy_rig.haproxy.folder / "elsewhere"
        elsewhere.write_text("")
        haproxy_rig.haproxy.target.symlink_to(elsewhere)
        with pytest.raises(Fault, match="can't be read"):
            await haproxy_rig.router.apply(table(A))
        assert elsewhere.read_text() == ""
        haproxy_rig.haproxy.target.unlink()

    async def test_a_folder_that_isn_t_there(self, haproxy_rig: HaproxyRig) -> None:
        haproxy_rig.haproxy.target.parent.rmdir()
        with pytest.raises(Fault, match="can't be written to") as caught:
            await haproxy_rig.router.apply(table(A))
        assert caught.value.reason == "haproxy-target"
        haproxy_rig.haproxy.target.parent.mkdir()
        assert await haproxy_rig.router.apply(table(A)) == {}

    async def test_no_haproxy_at_all(self, haproxy_rig: HaproxyRig) -> None:
        router = haproxy_rig.another(test_command=["no-such-haproxy", "-c", "-f"])
        await router.check()
        with pytest.raises(Fault, match="no-such-haproxy") as caught:
            await router.apply(table(A))
        assert caught.value.reason == "haproxy-missing"
        assert "apt-get install haproxy" in caught.value.hint
        assert not haproxy_rig.haproxy.target.exists()

    async def test_commands_may_be_left_out(self, haproxy_rig: HaproxyRig) -> None:
        assert await haproxy_rig.another(test_command=[], reload_command=[]).apply(table(A)) == {}
        assert haproxy_rig.haproxy.backends() == [A]

    async def test_haproxy_killed_and_started_again(self, haproxy_rig: HaproxyRig, front: Rig) -> None:
        async with application("app") as app:
            await haproxy_rig.router.apply(served(a=app))
            haproxy_rig.haproxy.kill9()
            more = served(a=app, b=app)
            await front.client.apply(more)
            with pytest.raises(Retry, match="isn't running") as caught:
                await haproxy_rig.router.apply(more)
            assert caught.value.reason == "haproxy-stopped"
            assert haproxy_rig.haproxy.backends() == [A, B]
            haproxy_rig.haproxy.start()
            await soon(haproxy_rig.haproxy, A, 200)
            await soon(haproxy_rig.haproxy, B, 200)
            assert await haproxy_rig.router.apply(more) == {}
            assert not (haproxy_rig.scratch / "reload-due").exists()


class TestTemplate:
    @pytest.mark.parametrize(
        ("text", "words"),
        [("a\n{% if slug %}\n", "line 2"), ("a\n{{ slug", "line 2"), ("{% include 'x' %}", "line 1")],
    )
    def test_what_is_no_template_is_refused_with_its_line(self, text: str, words: str) -> None:
        with pytest.raises(Fault, match=words) as caught:
            ConfigTemplate("mine.cfg", text).render(Site("*:80", "127.0.0.1:8000"))
        assert caught.value.reason == "haproxy-template"

    def test_the_shipped_one_stands_in_for_the_first_stager_s(self, tmp_path: Path) -> None:
        first = tmp_path / "request_handlers" / "haproxy.cfg.erb"
        text = load_template(first).render(Site("*:8080", "127.0.0.1:8000"))
        assert "bind *:8080" in text
        assert "server front 127.0.0.1:8000" in text
        with pytest.raises(Fault, match=r"mine.cfg doesn't exist"):
            load_template(tmp_path / "mine.cfg")

    def test_ruby_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "haproxy.cfg.erb").write_text("<% containers.each do |c| %>")
        with pytest.raises(Fault, match="isn't supported") as caught:
            load_template(tmp_path / "haproxy.cfg.erb")
        assert "Jinja" in caught.value.hint

    async def test_the_documentation_s_template_works(self, haproxy_rig: HaproxyRig, front: Rig) -> None:
        [sample] = [s.text for s in samples("haproxy") if s.page.name == "haproxy.md"]
        router = haproxy_rig.another(sample)
        async with application("first") as first, application("second") as second:
            routes = served(a=first, b=second)
            await front.client.apply(routes)
            await router.check()
            assert await router.apply(routes) == {}
            assert json.loads(await soon(haproxy_rig.haproxy, A, 200))["app"] == "first"
            assert json.loads(await soon(haproxy_rig.haproxy, B, 200))["app"] == "second"


KILLED = """\
import asyncio, os, signal, sys
from pathlib import Path
from stager.domain.route import Endpoint, RouteTable
from stager.routers.haproxy import Haproxy, HaproxyRouter, Site, Target, shipped_template

target, scratch, bind, at, test, reload = sys.argv[1:]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

class Dying(Haproxy):
    def test(self, file):
        if at == "test":
            die()
        return super().test(file)

    def reload(self):
        if at == "reload":
            die()
        super().reload()
        if at == "reloaded":
            die()

if at == "write":
    os.fsync = die
if at == "rename":
    Path.replace = die

router = HaproxyRouter(
    template=shipped_template(), site=Site(bind, "127.0.0.1:9"),
    target=Target(Path(target), Path(scratch), "test-me"), haproxy=Dying(test.split(), ["sh", "-c", reload]),
)
ports = {5001: "b.stage.test", 5002: "c.stage.test"}
routes = dict.fromkeys(ports.values(), Endpoint("127.0.0.1", 9))
asyncio.run(router.apply(RouteTable(routes, "stage.test", None, ports)))
"""


@pytest.mark.parametrize("at", ["test", "write", "rename", "reload", "reloaded"])
async def test_killed_at_any_line_the_next_pass_heals(
    haproxy_rig: HaproxyRig, tmp_path: Path, at: str
) -> None:
    haproxy = haproxy_rig.haproxy
    await haproxy_rig.router.apply(table(A, B))
    test, reload = " ".join(haproxy.commands["test_command"]), haproxy.commands["reload_command"][2]
    arguments = [str(haproxy.target), str(haproxy_rig.scratch), f"127.0.0.1:{haproxy.port}", at, test, reload]
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", KILLED, *arguments], check=False)
    assert done.returncode == -signal.SIGKILL
    assert haproxy.refuses() == ""
    marker = tmp_path / "told"
    reloading = haproxy_rig.another(reload_command=["sh", "-c", f"touch {marker}; {reload}"])
    assert await reloading.apply(table(B, C, first=5001)) == {}
    assert haproxy.backends() == [B, C]
    assert marker.exists(), "nobody knows whether HAProxy has read it"
    assert not (haproxy_rig.scratch / "reload-due").exists()
    assert [path.name for path in haproxy.target.parent.iterdir()] == ["haproxy.cfg"]


class WebSocketApp(App):
    """Accepts WebSockets as RFC 6455 wants it, which HAProxy checks."""

    async def _websocket(self, request: Request, reader: Reader, writer: Writer) -> bool:
        key = f"{request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        while data := await reader.read(65536):
            writer.write(data)
        return False


class TestTraffic:
    """What the shipped configuration lets through."""

    @pytest.fixture
    async def app(self, haproxy_rig: HaproxyRig, front: Rig) -> AsyncIterator[App]:
        app = WebSocketApp()
        await app.start()
        routes = served(a=app)
        await front.client.apply(routes)
        await haproxy_rig.router.apply(routes)
        await soon(haproxy_rig.haproxy, A, 200)
        yield app
        await app.stop()

    async def test_no_request_fails_and_none_is_answered_by_another_during_changes(
        self, haproxy_rig: HaproxyRig, front: Rig
    ) -> None:
        async with contextlib.AsyncExitStack() as stack:
            apps = {name: await stack.enter_async_context(application(name)) for name in ("a", "b", "c")}
            whole = served(**apps)
            tables = [whole.upsert(host, Page("gone")) for host in (C, B)]
            tables.append(tables[0].upsert(B, Page("gone")))
            await front.client.apply(tables[0])
            await haproxy_rig.router.apply(tables[0])
            await soon(haproxy_rig.haproxy, B, 200)
            done = asyncio.Event()
            asked = asyncio.create_task(ask_until(done, haproxy_rig.haproxy.port))
            for routes in itertools.islice(itertools.cycle([*tables[1:], tables[0]]), 12):
                await front.client.apply(routes)
                assert await haproxy_rig.router.apply(routes) == {}
                await asyncio.sleep(0.25)
            done.set()
            seen = await asked
        print(dict(seen))
        assert seen["wrong"] == seen["failed"] == 0
        assert seen["right"] >= 500
        assert seen.total() == seen["right"] + seen["410"]

    async def test_events_arrive_one_by_one(self, haproxy_rig: HaproxyRig, app: App) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", haproxy_rig.haproxy.port)
        writer.write(request("/sse", host=A))
        first, _ = await read_head(reader)
        assert " 200 " in first
        for number in range(5):
            event = await asyncio.wait_for(reader.readuntil(b"\n\n"), 5)
            assert event.endswith(b"data: %d\n\n" % number)
            app.go.set()
        writer.close()

    async def test_websockets_and_streams_survive_a_reload(self, haproxy_rig: HaproxyRig, app: App) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", haproxy_rig.haproxy.port)
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
        writer.write(request("/ws", *upgrade, host=A))
        first, _ = await read_head(reader)
        assert " 101 " in first
        for number in range(3):
            assert await haproxy_rig.router.apply(table(A, first=4001 + number)) == {}
            writer.write(b"ping")
            assert await asyncio.wait_for(reader.readexactly(4), 5) == b"ping"
        assert len(haproxy_rig.haproxy.workers()) > 1, "it is in an old process"
        writer.close()
        await until_one(haproxy_rig.haproxy)

    @pytest.mark.parametrize("framing", ["length", "chunked"])
    async def test_ten_megabytes_arrive_whole(self, haproxy_rig: HaproxyRig, app: App, framing: str) -> None:
        body = bytes(range(256)) * (10 << 12)
        content = (
            body if framing == "length" else iter([body[i : i + 65536] for i in range(0, len(body), 65536)])
        )
        with httpx.Client(trust_env=False, timeout=20) as client:
            answer = await asyncio.to_thread(
                client.post, haproxy_rig.haproxy.url, headers={"Host": A}, content=content
            )
        assert answer.json()["size"] == len(body)
        assert answer.json()["digest"] == hashlib.sha256(body).hexdigest()

    async def test_large_headers_pass(self, haproxy_rig: HaproxyRig, app: App) -> None:
        cookie = "x" * 30_000
        answer = await asyncio.to_thread(lambda: haproxy_rig.haproxy.get(A, Cookie=cookie))
        assert answer.json()["headers"]["cookie"] == cookie


async def until_one(haproxy: HaproxyUnderTest) -> None:
    """Wait until no old process is left."""
    async with asyncio.timeout(20):
        while len(haproxy.workers()) > 1:
            await asyncio.sleep(0.1)


async def ask_until(done: asyncio.Event, port: int) -> Counter[str]:
    """Ask for three hosts in turn on eight connections; count whose answers come."""
    seen: Counter[str] = Counter()
    turns = itertools.cycle([A, B, C])

    async def ask() -> None:
        while not done.is_set():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            closing = False
            while not done.is_set() and not closing:
                host = next(turns)
                try:
                    writer.write(request(host=host))
                    answer = await asyncio.wait_for(read_response(reader), 20)
                except (OSError, asyncio.IncompleteReadError):
                    seen["failed"] += 1
                    break
                closing = answer.headers.get("connection") == "close"
                mine = answer.status == 200 and answer.json["app"] == host[0]
                seen["right" if mine else "wrong" if answer.status == 200 else str(answer.status)] += 1
                await asyncio.sleep(0.002)
            writer.close()

    await asyncio.gather(*(ask() for _ in range(8)))
    return seen


class TestTls:
    """The configuration of `stager haproxy config --certificate`."""

    @pytest.fixture
    async def secure(self, haproxy_rig: HaproxyRig, front: Rig, tmp_path: Path) -> AsyncIterator[int]:
        certificate, key = certificate_in(tmp_path)
        pem = tmp_path / "both.pem"
        pem.write_text(certificate.read_text() + key.read_text())
        port = free_port()
        site = Site(
            bind=f"127.0.0.1:{port} ssl crt {pem} alpn h2,http/1.1",
            front=haproxy_rig.front,
            redirect=f"127.0.0.1:{haproxy_rig.haproxy.port}",
        )
        haproxy_rig.haproxy.target.write_text(shipped_template().render(site))
        assert haproxy_rig.haproxy.refuses() == ""
        haproxy_rig.haproxy.reload()
        async with application("app") as app:
            await front.client.apply(served(a=app))
            await soon(haproxy_rig.haproxy, A, 308)
            yield port

    async def test_http_2_and_http_1(self, secure: int) -> None:
        for version, spoken in (("--http2", "2"), ("--http1.1", "1.1")):
            done = await asyncio.to_thread(
                subprocess.run,
                ["curl", "-sk", version, "--max-time", "20", "-w", "\n%{http_version} %{http_code}",
                 "--connect-to", f"::127.0.0.1:{secure}", "-H", "X-Forwarded-Proto: http", f"https://{A}/"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            body, _, said = done.stdout.rpartition("\n")
            assert said == f"{spoken} 200"
            headers = json.loads(body)["headers"]
            assert headers["x-forwarded-proto"] == "https"
            assert headers["x-forwarded-host"] == A
            assert headers["x-forwarded-port"] == "443"
            assert headers["x-forwarded-for"].startswith("127.0.0.1")

    async def test_http_is_redirected(self, haproxy_rig: HaproxyRig, secure: int) -> None:
        answer = await asyncio.to_thread(haproxy_rig.haproxy.get, A, "/some?thing=1")
        assert (answer.status_code, answer.headers["location"]) == (308, f"https://{A}/some?thing=1")
