"""Telling nginx about previews: a real nginx, a real front, and everything that can go wrong between them."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from stager.domain.errors import Fault, Retry
from stager.domain.route import Endpoint, Page, RouteTable
from stager.routers.nginx import Nginx, NginxRouter, load_template, server_for_all
from stager.routers.nginx import template as templates
from stager.routers.nginx.template import VhostTemplate
from tests.integration.nginx import BINARY, NginxUnderTest, running_nginx
from tests.unit.docs.pages import samples
from tests.unit.front.harness import DOMAIN, App, Rig, free_port, read_response, request, rig

pytestmark = pytest.mark.skipif(not Path(BINARY).exists(), reason="no nginx: scripts/test installs one")

A, B, C = (f"{name}.{DOMAIN}" for name in "abc")
NOWHERE = Endpoint("127.0.0.1", 9)


def shipped(nginx: NginxUnderTest) -> str:
    """Stager's own template, for an nginx on another port than 80."""
    text = load_template(None)._write({name: f"<%= {name} %>" for name in templates.VARIABLES})
    return text.replace("listen 80;", f"listen 127.0.0.1:{nginx.port};")


@dataclass
class NginxRig:
    """An nginx and the router that configures it."""

    nginx: NginxUnderTest
    scratch: Path
    router: NginxRouter

    def another(self, text: str = "", *, name: str = "nginx.conf.erb", **commands: list[str]) -> NginxRouter:
        """A router with another template or other commands, as after a restart with another configuration."""
        given = {**self.nginx.settings, **commands}
        return NginxRouter(
            template=VhostTemplate(name, text or shipped(self.nginx)),
            folder=self.nginx.sites,
            scratch=self.scratch,
            installation="test-me",
            nginx=Nginx(self.scratch, given["test_command"], given["reload_command"]),  # type: ignore[arg-type]
        )

    def read(self, name: str) -> str:
        return (self.nginx.sites / name).read_text()


@pytest.fixture
def nginx_rig(tmp_path: Path) -> Iterator[NginxRig]:
    with running_nginx(tmp_path / "nginx") as nginx:
        nginx_rig = NginxRig(nginx, tmp_path / "scratch", None)  # type: ignore[arg-type]
        nginx_rig.router = nginx_rig.another()
        yield nginx_rig
        assert nginx.refuses() == "", "whatever happened, nginx can be started again"


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path / "front") as running:
        yield running


@asynccontextmanager
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


async def soon(nginx: NginxUnderTest, host: str, wanted: int, path: str = "/") -> str:
    """What nginx answers once it has followed a reload: its new workers begin a moment later."""
    deadline = time.monotonic() + 10
    seen = "nobody listens"
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            answer = await asyncio.to_thread(nginx.get, host, path)
            if answer.status_code == wanted:
                return answer.text
            seen = f"{answer.status_code} {answer.text}"
        await asyncio.sleep(0.02)
    raise AssertionError(seen)


class TestFiles:
    async def test_each_preview_has_one_and_is_reached_by_it(self, nginx_rig: NginxRig, front: Rig) -> None:
        async with application("first") as first, application("second") as second:
            served = RouteTable(
                {A: first.endpoint, B: second.endpoint, C: Page("stopped", "c")},
                DOMAIN,
                None,
                {free_port(): A, free_port(): B, free_port(): C},
            )
            await front.client.apply(served)
            assert await nginx_rig.router.apply(served) == {}
            assert nginx_rig.nginx.files() == ["a", "b"]
            seen = json.loads(await soon(nginx_rig.nginx, A, 200))
            assert seen["app"] == "first"
            assert seen["headers"]["host"] == A
            assert seen["headers"]["x-forwarded-proto"] == "http"
            assert json.loads(await soon(nginx_rig.nginx, B, 200))["app"] == "second"

    async def test_a_visitor_can_t_say_who_he_is(self, nginx_rig: NginxRig, front: Rig) -> None:
        async with application("app") as app:
            served = RouteTable({A: app.endpoint}, DOMAIN, None, {free_port(): A})
            await front.client.apply(served)
            await nginx_rig.router.apply(served)
            await soon(nginx_rig.nginx, A, 200)
            lies = {"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6"}
            seen = (await asyncio.to_thread(lambda: nginx_rig.nginx.get(A, **lies))).text
            assert "6.6.6.6" not in seen

    async def test_any_template_works_whatever_host_it_sends(self, nginx_rig: NginxRig, front: Rig) -> None:
        bare = (
            f"server {{ listen 127.0.0.1:{nginx_rig.nginx.port}; server_name {{{{ slug }}}}.{{{{ host }}}};"
            " location / { proxy_pass http://127.0.0.1:{{ port }}; } }"
        )
        router = nginx_rig.another(bare, name="bare.conf")
        async with application("first") as first, application("second") as second:
            served = RouteTable(
                {A: first.endpoint, B: second.endpoint}, DOMAIN, None, {free_port(): A, free_port(): B}
            )
            await front.client.apply(served)
            assert await router.apply(served) == {}
            for host, app in ((A, "first"), (B, "second")):
                seen = json.loads(await soon(nginx_rig.nginx, host, 200))
                assert (seen["app"], seen["headers"]["host"]) == (app, host)

    async def test_doing_the_same_again_does_nothing(self, nginx_rig: NginxRig) -> None:
        marker = nginx_rig.another(reload_command=["sh", "-c", f"echo told >> {nginx_rig.scratch}/told"])
        await marker.apply(table(A, B))
        stat = (nginx_rig.nginx.sites / "a").stat()
        await marker.apply(table(A, B))
        assert (nginx_rig.nginx.sites / "a").stat() == stat
        assert (nginx_rig.scratch / "told").read_text() == "told\n"
        await marker.apply(table(B, first=4002))
        assert nginx_rig.nginx.files() == ["b"]
        assert (nginx_rig.scratch / "told").read_text() == "told\ntold\n"

    async def test_whatever_was_done_to_them_is_put_right(self, nginx_rig: NginxRig) -> None:
        await nginx_rig.router.apply(table(A, B))
        right = nginx_rig.read("a"), nginx_rig.read("b")
        (nginx_rig.nginx.sites / "a").unlink()
        (nginx_rig.nginx.sites / "b").write_text(right[1] + "# mine\n")
        assert await nginx_rig.router.apply(table(A, B)) == {}
        assert (nginx_rig.read("a"), nginx_rig.read("b")) == right

    async def test_strangers_are_never_touched(self, nginx_rig: NginxRig) -> None:
        sites = nginx_rig.nginx.sites
        (sites / "b").write_text("# mine\n")
        (sites / "c").symlink_to(nginx_rig.nginx.folder / "elsewhere")
        (sites / "theirs").write_text(
            "# Made by Stager test-other for x.y by 1; what is changed here is lost.\n"
        )
        (nginx_rig.nginx.folder / "elsewhere").write_text(
            "# Made by Stager test-me for x.y by 1; what is changed here is lost.\n"
        )
        problems = await nginx_rig.router.apply(table(A, B, C))
        assert problems.keys() == {B, C}
        assert "wasn't created by Stager" in problems[B]
        assert nginx_rig.nginx.files() == ["a", "b", "c", "theirs"]
        await nginx_rig.router.apply(table())
        assert nginx_rig.nginx.files() == ["b", "c", "theirs"]
        assert (sites / "b").read_text() == "# mine\n"
        assert (sites / "c").is_symlink()

    @pytest.mark.parametrize(
        "slug",
        ["..", "../../etc/x", "a b", "a;}", "$(reboot)", "", ".hidden", "-t", "a/b", "ü", "a\nb", "default"],
    )
    async def test_a_name_that_could_mean_something_else_is_left_out(
        self, nginx_rig: NginxRig, slug: str
    ) -> None:
        before = sorted(nginx_rig.nginx.folder.rglob("*"))
        host = f"{slug}.{DOMAIN}"
        problems = await nginx_rig.router.apply(table(host, A))
        assert problems.keys() == {host}
        assert nginx_rig.nginx.files() == ["a"]
        after = [path for path in nginx_rig.nginx.folder.rglob("*") if path.name != "error.log"]
        assert set(after) - set(before) <= {nginx_rig.nginx.sites / "a"}

    async def test_a_name_that_is_too_long_for_nginx_has_no_effect_on_others(
        self, nginx_rig: NginxRig
    ) -> None:
        long = f"{'x' * 63}.{DOMAIN}"
        problems = await nginx_rig.router.apply(table(long, A, B))
        assert problems.keys() == {long}
        assert "you should increase server_names_hash_bucket_size" in problems[long]
        (nginx_rig.nginx.sites / "00-base").write_text("server_names_hash_bucket_size 256;\n")
        assert await nginx_rig.router.apply(table(long, A, B)) == {}

    async def test_hosts_of_an_earlier_domain_keep_their_names(self, nginx_rig: NginxRig) -> None:
        old = "a.earlier.test"
        await nginx_rig.router.apply(table(A, old))
        assert nginx_rig.nginx.files() == ["a", "a.earlier.test"]
        assert f"server_name {old};" in nginx_rig.read("a.earlier.test")


async def open_ingress_ports(front: Rig, app: App, hosts: list[str]) -> RouteTable:
    """A table that the front serves: these hosts, each with an unused ingress port."""
    ports: dict[int, str] = {}
    free = itertools.count(21000)
    while missing := [host for host in hosts if host not in ports.values()]:
        tried = {next(free): host for host in missing}
        table = RouteTable(dict.fromkeys(hosts, app.endpoint), DOMAIN, None, ports | tried)
        closed = await front.client.apply(table)
        ports |= {port: host for port, host in tried.items() if port not in closed}
    served = RouteTable(dict.fromkeys(hosts, app.endpoint), DOMAIN, None, ports)
    assert await front.client.apply(served) == {}
    return served


async def assert_led_to(nginx: NginxUnderTest, hosts: list[str]) -> None:
    """nginx leads to each of them, at once or after it has followed a reload."""
    async with asyncio.timeout(60):
        for host in hosts:
            while host not in await _led_to(nginx, host):
                await asyncio.sleep(0.02)


async def _led_to(nginx: NginxUnderTest, host: str) -> str:
    """What is found under this host: the headers that the application got, if it got any."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", nginx.port)
    except OSError:
        return ""  # It doesn't listen yet.
    try:
        writer.write(request("/", "Connection: close", host=host))
        response = await read_response(reader)
    except (OSError, asyncio.IncompleteReadError):
        return ""  # A reload ended the worker.
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return str(response.json["headers"]) if response.status == 200 else ""


@pytest.mark.requirement("R44")
class TestThreeHundredPreviews:
    HOSTS: ClassVar = [f"branch-{number}.{DOMAIN}" for number in range(300)]

    async def test_with_a_file_each(self, nginx_rig: NginxRig, front: Rig) -> None:
        async with application("app") as app:
            served = await open_ingress_ports(front, app, self.HOSTS)
            assert await nginx_rig.router.apply(served) == {}
            assert len(nginx_rig.nginx.files()) == 300
            await assert_led_to(nginx_rig.nginx, self.HOSTS)
            nginx_rig.nginx.kill9()
            nginx_rig.nginx.start()
            await assert_led_to(nginx_rig.nginx, self.HOSTS)
            gone = set(self.HOSTS[::2])
            fewer = functools.reduce(RouteTable.delete, gone, served)
            await front.client.apply(fewer)
            assert await nginx_rig.router.apply(fewer) == {}
            assert nginx_rig.nginx.files() == sorted(h.partition(".")[0] for h in self.HOSTS if h not in gone)
            await assert_led_to(nginx_rig.nginx, self.HOSTS[1::2])

    async def test_with_one_server_for_all(self, nginx_rig: NginxRig, front: Rig) -> None:
        (nginx_rig.nginx.sites / "default").write_text(one_server(nginx_rig, front))
        nginx_rig.nginx.reload()
        async with application("app") as app:
            routes = dict.fromkeys(self.HOSTS, app.endpoint)
            await front.serve(dict(routes))
            await assert_led_to(nginx_rig.nginx, self.HOSTS)
            nginx_rig.nginx.kill9()
            nginx_rig.nginx.start()
            await front.serve({host: routes[host] for host in self.HOSTS[1:]})
            await assert_led_to(nginx_rig.nginx, self.HOSTS[1:])
            await soon(nginx_rig.nginx, self.HOSTS[0], 404)


def one_server(nginx_rig: NginxRig, front: Rig) -> str:
    """What an administrator gives nginx once, where there is one server for all."""
    return server_for_all(
        front=f"127.0.0.1:{front.port}",
        names=[DOMAIN, f"*.{DOMAIN}"],
        listen=[f"127.0.0.1:{nginx_rig.nginx.port}"],
    )


@pytest.mark.parametrize("vhosts", [True, False])
class TestWhatPassesThrough:
    """Both files that Stager ships let pass what a preview may be made of."""

    @asynccontextmanager
    async def served(self, nginx_rig: NginxRig, front: Rig, vhosts: bool) -> AsyncIterator[App]:
        async with application("app") as app:
            table = RouteTable({A: app.endpoint}, DOMAIN, None, {free_port(): A})
            await front.client.apply(table)
            if vhosts:
                await nginx_rig.router.apply(table)
            else:
                (nginx_rig.nginx.sites / "default").write_text(one_server(nginx_rig, front))
                nginx_rig.nginx.reload()
            await soon(nginx_rig.nginx, A, 200)
            yield app

    async def test_websockets(self, nginx_rig: NginxRig, front: Rig, vhosts: bool) -> None:
        async with self.served(nginx_rig, front, vhosts):
            reader, writer = await asyncio.open_connection("127.0.0.1", nginx_rig.nginx.port)
            writer.write(request("/ws", "Connection: Upgrade", "Upgrade: websocket", host=A))
            assert b"101 Switching" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"hi"
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
            writer.close()

    async def test_streams_are_not_held_back(self, nginx_rig: NginxRig, front: Rig, vhosts: bool) -> None:
        async with self.served(nginx_rig, front, vhosts) as app:
            reader, writer = await asyncio.open_connection("127.0.0.1", nginx_rig.nginx.port)
            writer.write(request("/sse", host=A))
            async with asyncio.timeout(10):
                await reader.readuntil(b"data: 0\n\n")
                app.go.set()
                await reader.readuntil(b"data: 1\n\n")
            writer.close()

    async def test_large_bodies_and_headers(self, nginx_rig: NginxRig, front: Rig, vhosts: bool) -> None:
        async with self.served(nginx_rig, front, vhosts):
            reader, writer = await asyncio.open_connection("127.0.0.1", nginx_rig.nginx.port)
            body = bytes(20 << 20)
            writer.write(request("/", f"Cookie: {'x' * 6000}", method="POST", host=A, body=body))
            async with asyncio.timeout(30):
                seen = (await read_response(reader)).json
            writer.close()
            assert seen["size"] == len(body)
            headers = seen["headers"]
            assert isinstance(headers, dict)
            assert (headers["host"], len(headers["cookie"])) == (A, 6000)


class TestRefusals:
    BROKEN_FOR_B = (
        "{% if slug == 'b' %}nonsense;{% endif %}server { listen 127.0.0.1:PORT;"
        " server_name {{ slug }}.{{ host }}; return 204; }"
    )

    async def test_one_bad_file_has_no_effect_on_others(self, nginx_rig: NginxRig) -> None:
        router = nginx_rig.another(
            self.BROKEN_FOR_B.replace("PORT", str(nginx_rig.nginx.port)), name="x.conf"
        )
        problems = await router.apply(table(A, B, C))
        assert problems.keys() == {B}
        assert 'unknown directive "nonsense", in line 1 of the rendered template' in problems[B]
        assert nginx_rig.nginx.files() == ["a", "c"]
        await soon(nginx_rig.nginx, A, 204)
        await soon(nginx_rig.nginx, C, 204)

    async def test_what_only_shows_with_everything_else_is_rolled_back(self, nginx_rig: NginxRig) -> None:
        (nginx_rig.nginx.sites / "00-mine").write_text("upstream stager_4002 { server 127.0.0.1:9; }\n")
        await nginx_rig.router.apply(table(A))
        before = nginx_rig.read("a")
        problems = await nginx_rig.router.apply(table(A, B, C))
        assert problems.keys() == {B}
        assert 'duplicate upstream "stager_4002"' in problems[B]
        assert nginx_rig.nginx.files() == ["00-mine", "a", "c"]
        assert nginx_rig.read("a") == before

    async def test_a_file_that_was_good_stays_when_its_successor_is_refused(
        self, nginx_rig: NginxRig
    ) -> None:
        await nginx_rig.router.apply(table(A, B))
        before = nginx_rig.read("a"), nginx_rig.read("b")
        # Ports that are none: the whole of nginx says no to both, the files alone do as well.
        router = nginx_rig.another(
            shipped(nginx_rig.nginx).replace("127.0.0.1:<%= port %>", "127.0.0.1:99999")
        )
        problems = await router.apply(table(A, B))
        assert problems.keys() == {A, B}
        assert (nginx_rig.read("a"), nginx_rig.read("b")) == before

    async def test_no_file_is_left_that_leads_to_another_s_ingress_port(self, nginx_rig: NginxRig) -> None:
        await nginx_rig.router.apply(table(A, B))
        router = nginx_rig.another(
            self.BROKEN_FOR_B.replace("PORT", str(nginx_rig.nginx.port)), name="x.conf"
        )
        # B's ingress port is A's from now on, and B's new file is refused.
        problems = await router.apply(RouteTable({A: NOWHERE, B: NOWHERE}, DOMAIN, None, {4002: A, 4001: B}))
        assert problems.keys() == {B}
        assert nginx_rig.nginx.files() == ["a"]

    async def test_a_configuration_that_others_broke_is_reported(self, nginx_rig: NginxRig) -> None:
        await nginx_rig.router.apply(table(A))
        (nginx_rig.nginx.sites / "zz-mine").write_text("nonsense;\n")
        with pytest.raises(Fault, match=r'unknown directive "nonsense" in .*/zz-mine:1') as caught:
            await nginx_rig.router.apply(table(A, B))
        assert caught.value.reason == "nginx-refused"
        assert nginx_rig.nginx.files() == ["a", "zz-mine"]
        (nginx_rig.nginx.sites / "zz-mine").unlink()
        assert await nginx_rig.router.apply(table(A, B)) == {}
        assert nginx_rig.nginx.files() == ["a", "b"]

    async def test_a_reload_that_is_refused_is_taken_back(self, nginx_rig: NginxRig) -> None:
        await nginx_rig.router.apply(table(A, B))
        before = nginx_rig.read("a"), nginx_rig.read("b")
        sulking = nginx_rig.another(reload_command=["sh", "-c", "echo 'not today' >&2; exit 1"])
        with pytest.raises(Fault, match="not today") as caught:
            await sulking.apply(table(B, C, first=5001))
        assert caught.value.reason == "nginx-reload"
        assert "reload_command" in caught.value.hint
        assert nginx_rig.nginx.files() == ["a", "b"]
        assert (nginx_rig.read("a"), nginx_rig.read("b")) == before
        await soon(nginx_rig.nginx, A, 502)
        assert await nginx_rig.router.apply(table(B, C, first=5001)) == {}
        assert nginx_rig.nginx.files() == ["b", "c"]

    async def test_no_nginx_at_all(self, nginx_rig: NginxRig) -> None:
        router = nginx_rig.another(test_command=["no-such-nginx", "-t"])
        with pytest.raises(Fault, match="no-such-nginx") as caught:
            await router.apply(table(A))
        assert caught.value.reason == "nginx-missing"
        assert "apt-get install nginx" in caught.value.hint
        assert nginx_rig.nginx.files() == []

    async def test_a_folder_that_isn_t_there(self, nginx_rig: NginxRig) -> None:
        nginx_rig.nginx.sites.rmdir()
        assert await nginx_rig.router.apply(table()) == {}
        with pytest.raises(Fault, match="can't be written to") as caught:
            await nginx_rig.router.apply(table(A))
        assert caught.value.reason == "nginx-target"
        nginx_rig.nginx.sites.mkdir()
        assert await nginx_rig.router.apply(table(A)) == {}

    async def test_nginx_killed_and_started_again(self, nginx_rig: NginxRig, front: Rig) -> None:
        async with application("app") as app:
            served = RouteTable({A: app.endpoint}, DOMAIN, None, {free_port(): A})
            await front.client.apply(served)
            await nginx_rig.router.apply(served)
            nginx_rig.nginx.kill9()
            more = RouteTable(
                {A: app.endpoint, B: app.endpoint}, DOMAIN, None, {**served.ports, free_port(): B}
            )
            await front.client.apply(more)
            with pytest.raises(Retry, match="isn't running") as caught:
                await nginx_rig.router.apply(more)
            assert caught.value.reason == "nginx-stopped"
            assert nginx_rig.nginx.files() == ["a", "b"]
            nginx_rig.nginx.start()
            await soon(nginx_rig.nginx, A, 200)
            await soon(nginx_rig.nginx, B, 200)
            assert await nginx_rig.router.apply(more) == {}
            assert not (nginx_rig.scratch / "reload-due").exists()

    async def test_commands_may_be_left_out(self, nginx_rig: NginxRig) -> None:
        router = nginx_rig.another(test_command=[], reload_command=[])
        assert await router.apply(table(A)) == {}
        assert nginx_rig.nginx.files() == ["a"]


class TestTemplate:
    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("x.erb", "a\nb <%= slug.upcase %>\n", r"line 2: <%= slug.upcase %> isn't supported"),
            ("x.erb", "a\n\n<% if slug %>", "line 3"),
            ("x.erb", "<%= name %>", "line 1"),
            ("x.erb", "a\n<%= slug", "line 2"),
            ("x.erb", "<%# note %>", "line 1"),
            ("x.conf", "a\n{% if slug %}\n", "line 2"),
            ("x.conf", "a\n{{ slug", "line 2"),
        ],
    )
    def test_what_is_no_template_is_refused_with_its_line(self, name: str, text: str, words: str) -> None:
        with pytest.raises(Fault, match=words) as caught:
            VhostTemplate(name, text)
        assert caught.value.reason == "nginx-template"

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("server {\n  {{ branch }}\n}", "line 2: 'branch' is undefined"),
            ("server {\n  listen eighty;\n}", "in line 2 of the rendered template"),
            ("server {", "unexpected end of file"),
            ("}", 'unexpected "}"'),
            ("user root;", '"user" directive is not allowed here'),
        ],
    )
    async def test_what_nginx_would_refuse_is_refused_at_the_start(
        self, nginx_rig: NginxRig, text: str, words: str
    ) -> None:
        with pytest.raises(Fault) as caught:
            await nginx_rig.another(text, name="x.conf").check()
        assert words in caught.value.message
        assert caught.value.reason == "nginx-template"

    async def test_what_a_file_alone_can_t_show_is_checked_in_the_whole(self, nginx_rig: NginxRig) -> None:
        (nginx_rig.nginx.sites / "00-mine").write_text("log_format mine '$host';\n")
        text = (
            f"server {{ listen 127.0.0.1:{nginx_rig.nginx.port}; server_name {{{{ slug }}}}.{{{{ host }}}};"
            f" access_log {nginx_rig.nginx.folder}/mine.log mine; }}"
        )
        router = nginx_rig.another(text, name="x.conf")
        await router.check()
        assert await router.apply(table(A)) == {}
        assert nginx_rig.nginx.files() == ["00-mine", "a"]

    async def test_the_shipped_one_stands_in_for_one_that_isn_t_there(self, tmp_path: Path) -> None:
        shipped = load_template(tmp_path / "request_handlers" / "nginx.conf.erb")
        text = shipped.render(slug="test", host="demo.stager.io", port=3200)
        assert "server_name test.demo.stager.io;" in text
        assert "server 127.0.0.1:3200;" in text
        with pytest.raises(Fault, match=r"mine.conf doesn't exist"):
            load_template(tmp_path / "mine.conf")

    async def test_one_that_is_there_is_used(self, tmp_path: Path) -> None:
        (tmp_path / "nginx.conf.erb").write_text("<%= slug %>/<%=host%>/<%= port %>")
        text = load_template(tmp_path / "nginx.conf.erb").render(slug="a", host="b.c", port=1)
        assert text == "a/b.c/1\n"


KILLED = """\
import asyncio, os, signal, sys
from pathlib import Path
from stager.domain.route import Endpoint, RouteTable
from stager.routers.nginx import Nginx, NginxRouter
from stager.routers.nginx.template import VhostTemplate
import stager.routers.nginx.commands as commands
import stager.routers.nginx.vhosts as vhosts

sites, scratch, template, at, test, reload = sys.argv[1:]
count = 0

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

class Dying(Nginx):
    def test(self):
        if at == "test":
            die()
        return super().test()

    def reload(self):
        if at == "reload":
            die()
        super().reload()
        if at == "reloaded":
            die()

if at == "write":
    vhosts._write = die
if at == "rename":
    Path.replace = lambda self, target: die() if "sites" in str(target) else os.replace(self, target)

router = NginxRouter(
    template=VhostTemplate("nginx.conf.erb", Path(template).read_text()), folder=Path(sites),
    scratch=Path(scratch), installation="test-me", nginx=Dying(Path(scratch), test.split(), reload.split()),
)
ports = {5001: "b.stage.test", 5002: "c.stage.test"}
routes = dict.fromkeys(ports.values(), Endpoint("127.0.0.1", 9))
asyncio.run(router.apply(RouteTable(routes, "stage.test", None, ports)))
"""


@pytest.mark.parametrize("at", ["write", "rename", "test", "reload", "reloaded"])
async def test_killed_at_any_line_the_next_pass_heals(nginx_rig: NginxRig, tmp_path: Path, at: str) -> None:
    await nginx_rig.router.apply(table(A, B))
    template = tmp_path / "template.erb"
    template.write_text(shipped(nginx_rig.nginx))
    commands = [" ".join(command) for command in nginx_rig.nginx.settings.values()]  # type: ignore[arg-type]
    program = [
        sys.executable,
        "-c",
        KILLED,
        str(nginx_rig.nginx.sites),
        str(nginx_rig.scratch),
        str(template),
        at,
    ]
    done = await asyncio.to_thread(subprocess.run, [*program, *commands], check=False)
    assert done.returncode == -signal.SIGKILL
    assert nginx_rig.nginx.refuses() == ""
    marker = nginx_rig.scratch / "told"
    reloading = nginx_rig.another(reload_command=["sh", "-c", f"touch {marker}; {commands[1]}"])
    assert await reloading.apply(table(B, C, first=5001)) == {}
    assert nginx_rig.nginx.files() == ["b", "c"]
    assert "127.0.0.1:5001" in nginx_rig.read("b")
    assert marker.exists(), "nobody knows whether nginx has read them"
    assert not (nginx_rig.scratch / "journal.json").exists()
    assert not (nginx_rig.scratch / "reload-due").exists()


async def test_the_documentation_s_template_works(nginx_rig: NginxRig) -> None:
    [sample] = [s.text for s in samples("nginx") if s.page.name == "nginx-and-https.md"]
    router = nginx_rig.another(
        sample.replace("listen 80;", f"listen 127.0.0.1:{nginx_rig.nginx.port};"), name="x.conf"
    )
    await router.check()
    assert await router.apply(table(A, B)) == {}
    assert nginx_rig.nginx.files() == ["a", "b"]
