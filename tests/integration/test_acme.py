"""Certificates by ACME from a real Pebble, through a real front: HTTP-01 on request, DNS-01 by a hook and by
RFC 2136, renewal under traffic, and orders that are killed at each step."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from stager.certificates.challenges import DnsHook, DnsPublisher, HttpPublisher, Publisher
from stager.certificates.dns_update import DnsServer, DnsUpdates
from stager.certificates.issuer import AcmeCertificates
from stager.certificates.session import AcmeServer
from stager.certificates.storage import CertificateFolder, Order
from stager.control.routing.certificates import CertificateManager
from stager.control.routing.route_table import Routes
from stager.control.routing.urls import Urls
from stager.domain.errors import Fault, Retry
from stager.domain.route import Endpoint, RouteTable
from stager.front.process.launcher import FrontOptions
from stager.ports.clock import SystemClock
from stager.server_commands.runner import LocalCommands
from stager.testing import MemoryStore
from tests.integration.pebble import (
    DOMAIN,
    TSIG_NAME,
    TSIG_SECRET,
    Pebble,
    knot,
    needs_knot,
    needs_pebble,
    pebble,
)
from tests.unit.docs.written import page_sample
from tests.unit.front.harness import App, Rig, free_port, read_response, request, rig

pytestmark = needs_pebble

SHOP, BLOG = f"shop.{DOMAIN}", f"blog.{DOMAIN}"


class Setting:
    """A front with HTTPS, and an issuer."""

    def __init__(self, front: Rig, issuer: Pebble, folder: CertificateFolder, secure: int) -> None:
        self.front = front
        self.issuer = issuer
        self.folder = folder
        self.secure = secure

    def certificates(self, publisher: Publisher | None = None, *, limit: int = 40) -> AcmeCertificates:
        server = AcmeServer(self.issuer.directory, "admin@example.org", self.issuer.ca_file)
        return AcmeCertificates(server, self.folder, publisher or HttpPublisher(self.folder), limit)

    @contextlib.asynccontextmanager
    async def managed(self, certificates: AcmeCertificates) -> AsyncIterator[CertificateManager]:
        """A manager that follows the front's requests."""
        routes = Routes(self.front.client)
        await routes.adopt()
        urls = Urls(MemoryStore(), domain=DOMAIN, scheme="https")
        manager = CertificateManager(certificates, routes, urls, SystemClock())
        following = asyncio.create_task(manager.follow(self.front.client))
        try:
            yield manager
        finally:
            following.cancel()
            await manager.close()

    def trusting(self) -> ssl.SSLContext:
        """For a client that trusts the issuer alone."""
        return ssl.create_default_context(cadata=self.issuer.root())

    async def get(self, host: str, target: str = "/") -> int:
        """The status of a request over HTTPS."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.secure, ssl=self.trusting(), server_hostname=host
        )
        writer.write(request(target, host=host))
        response = await asyncio.wait_for(read_response(reader), 10)
        writer.close()
        return response.status


@contextlib.asynccontextmanager
async def setting(
    tmp_path: Path, app: App, *, dns: str = "", validity: int = 0, http_port: int = 0
) -> AsyncIterator[Setting]:
    folder = CertificateFolder(tmp_path / "certificates")
    folder.prepare()
    port, secure = free_port(), free_port()
    options = FrontOptions(
        listen=f"127.0.0.1:{port}",
        tls_listen=f"127.0.0.1:{secure}",
        acme_folder=str(folder.path),
        https_port=secure,
    )
    (tmp_path / "pebble").mkdir()
    async with (
        pebble(tmp_path / "pebble", http_port=http_port or port, dns=dns, validity=validity) as issuer,
        rig(tmp_path / "front", options, port) as front,
    ):
        home = Endpoint("127.0.0.1", app.endpoint.port)
        await front.client.apply(RouteTable({SHOP: app.endpoint, BLOG: app.endpoint}, DOMAIN, home))
        yield Setting(front, issuer, folder, secure)


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}


class TestHttp:
    async def test_the_first_request_waits_for_its_certificate(self, tmp_path: Path, app: App) -> None:
        async with setting(tmp_path, app) as has, has.managed(has.certificates()):
            statuses = await asyncio.gather(*(has.get(SHOP) for _ in range(20)), has.get(BLOG))
            assert statuses == [200] * 21
            assert has.issuer.issued() == 2
            assert modes(has.folder.path) == {0o600}
            assert {path.name for path in (has.folder.path / "challenges").iterdir()} == set()
            assert list((has.folder.path / "orders").iterdir()) == []

    @pytest.mark.attack(
        "HTTPS requests for invented hosts, so that Stager orders certificates until the issuer refuses",
        profile="visitor",
        result="rejected with a TLS alert; only hosts of previews get one, at most 40 new ones a week",
    )
    async def test_unknown_hosts_get_no_certificate(self, tmp_path: Path, app: App) -> None:
        async with setting(tmp_path, app) as has, has.managed(has.certificates()):
            for host in (f"unknown.{DOMAIN}", "evil.example.com", f"a.{SHOP}"):
                with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
                    await has.get(host)
            await asyncio.sleep(1)
            assert has.issuer.orders() == 0

    async def test_the_home_gets_one_at_the_start(self, tmp_path: Path, app: App) -> None:
        async with setting(tmp_path, app) as has, has.managed(has.certificates()) as manager:
            problems: dict[str, str] = {}
            await manager.check(problems.__setitem__)
            await until(lambda: DOMAIN in has.folder.certificates())
            await manager.check(problems.__setitem__)
            assert problems == {"certificates": ""}
            assert await has.get(DOMAIN) == 200

    async def test_an_issuer_that_cant_verify(self, tmp_path: Path, app: App) -> None:
        async with setting(tmp_path, app, http_port=free_port()) as has:
            certificates = has.certificates()
            with pytest.raises(Fault, match=f"can't verify {SHOP}") as failed:
                await certificates.order(SHOP)
            assert failed.value.reason == "acme-unverified"
            assert f"http://{SHOP}/.well-known/acme-challenge/" in failed.value.hint
            assert certificates.failures()[SHOP].count == 1
            assert list((has.folder.path / "orders").iterdir()) == []
            assert list((has.folder.path / "challenges").iterdir()) == []

    async def test_a_completed_order_isnt_used_again(self, tmp_path: Path, app: App) -> None:
        async with setting(tmp_path, app) as has:
            certificates = has.certificates()
            first = await certificates.order(SHOP)
            chain = (has.folder.path / "served" / f"{SHOP}.pem").read_bytes()
            # As after a kill between the storing of the certificate and the removal of the order.
            has.folder.save_order(SHOP, Order(f"{has.issuer.directory}/old"))
            has.folder.order_key(SHOP).write_bytes(chain[chain.index(b"-----BEGIN PRIVATE KEY") :])
            await asyncio.sleep(1.1)
            assert (await certificates.order(SHOP)).expires > first.expires
            assert has.issuer.issued() == 2

    async def test_an_issuer_that_is_away(self, tmp_path: Path) -> None:
        folder = CertificateFolder(tmp_path)
        server = AcmeServer(f"https://127.0.0.1:{free_port()}/dir", "admin@example.org")
        certificates = AcmeCertificates(server, folder, HttpPublisher(folder), 40)
        with pytest.raises(Retry, match="can't be reached"):
            await certificates.order(SHOP)


class TestDns:
    async def test_a_wildcard_by_a_hook(self, tmp_path: Path, app: App) -> None:
        async with setting(tmp_path, app) as has:
            async with dns_provider(has.issuer) as (address, calls):
                record = f"_acme-challenge.{DOMAIN}."
                settings = tmp_path / "dns-hook.conf"
                settings.write_text(f"DNS_API={address}/v1/records\nDNS_TOKEN=a-token\n")
                hook = tmp_path / "dns-hook"
                text = page_sample("certificates.md", "#!/bin/sh\n# /etc/stager/dns-hook")
                hook.write_text(text.replace("/etc/stager", str(tmp_path)))
                hook.chmod(0o755)
                publisher = DnsPublisher(DnsHook(LocalCommands(), [str(hook)], str(tmp_path)), 0)
                await self.check_wildcards(has, publisher)
            assert calls == [("POST", record), ("DELETE", record)] * 2

    async def test_a_hook_that_fails(self, tmp_path: Path, app: App) -> None:
        async with setting(tmp_path, app) as has:
            command = shlex.split("sh -c 'echo no such zone >&2; exit 3'")
            publisher = DnsPublisher(DnsHook(LocalCommands(), command, str(tmp_path)), 0)
            with pytest.raises(Fault, match="exited with 3: no such zone"):
                await has.certificates(publisher).order(f"*.{DOMAIN}")

    @needs_knot
    async def test_a_wildcard_by_updates_of_a_name_server(self, tmp_path: Path, app: App) -> None:
        (tmp_path / "knot").mkdir()
        async with knot(tmp_path / "knot") as address, setting(tmp_path, app, dns=address) as has:
            host, _, port = address.partition(":")
            server = DnsServer(host, int(port), TSIG_NAME, TSIG_SECRET)
            await self.check_wildcards(has, DnsPublisher(DnsUpdates(server), 0))
            wrong = DnsServer(host, int(port), TSIG_NAME, "d3Jvbmc=", zone=DOMAIN)
            with pytest.raises(Fault, match="TSIG key stager") as failed:
                await DnsUpdates(wrong).add(f"_acme-challenge.{DOMAIN}.", "x")
            assert failed.value.reason == "dns-update"

    async def check_wildcards(self, has: Setting, publisher: Publisher) -> None:
        """Stager's own host and all previews get certificates without a request."""
        async with has.managed(has.certificates(publisher)) as manager:
            await manager.check(lambda *_: None)
            await until(lambda: set(has.folder.certificates()) == {DOMAIN, f"*.{DOMAIN}"})
            assert [await has.get(host) for host in (DOMAIN, SHOP, BLOG)] == [200] * 3
            assert await has.get(f"unknown.{DOMAIN}") == 404
            await manager.check(lambda *_: None)
            await until(lambda: not has.folder.ordered())
        assert has.issuer.issued() == 2


class TestRenewal:
    async def test_no_request_fails_and_connections_stay(self, tmp_path: Path, app: App) -> None:
        async with setting(tmp_path, app, validity=12) as has, has.managed(has.certificates()) as manager:
            assert await has.get(SHOP) == 200
            first = has.folder.certificates()[SHOP]
            kept_reader, kept_writer = await asyncio.open_connection(
                "127.0.0.1", has.secure, ssl=has.trusting(), server_hostname=SHOP
            )
            kept_writer.write(request("/slow", host=SHOP))
            await kept_reader.readuntil(b"begun")
            answers: list[int] = []

            async def visit() -> None:
                while has.folder.certificates()[SHOP] == first or len(answers) < 50:
                    answers.append(await has.get(SHOP))

            visiting = [asyncio.create_task(visit()) for _ in range(4)]
            while not all(task.done() for task in visiting):
                await manager.check(lambda *_: None)
                await asyncio.sleep(0.2)
            await asyncio.gather(*visiting)
            os.kill(has.front.hello.pid, signal.SIGHUP)  # read the new files now instead of within 30 s
            assert set(answers) == {200}
            assert has.folder.certificates()[SHOP].expires > first.expires
            app.go.set()
            assert await asyncio.wait_for(kept_reader.readexactly(5), 5) == b"ended"
            kept_writer.write(request(host=SHOP))
            assert (await read_response(kept_reader)).status == 200
            kept_writer.close()


@contextlib.asynccontextmanager
async def dns_provider(issuer: Pebble) -> AsyncIterator[tuple[str, list[tuple[str, str]]]]:
    """A DNS provider's API: its address, and the changes that it made at Pebble's name server."""
    calls: list[tuple[str, str]] = []

    async def change(http: web.Request) -> web.Response:
        assert http.headers["Authorization"] == "Bearer a-token"
        fields = await http.post()
        calls.append((http.method, str(fields["name"])))
        path = "set-txt" if http.method == "POST" else "clear-txt"
        body = {"host": fields["name"], "value": fields["value"]}
        async with ClientSession() as session, session.post(f"{issuer.dns}/{path}", json=body) as answer:
            return web.Response(status=answer.status)

    app = web.Application()
    app.router.add_route("*", "/v1/records", change)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", calls
    finally:
        await runner.cleanup()


KILLER = """
import asyncio, os, signal, sys
from pathlib import Path
from acme.client import ClientNetwork
from stager.certificates import storage
from stager.certificates.challenges import HttpPublisher
from stager.certificates.issuer import AcmeCertificates
from stager.certificates.session import AcmeServer
directory, ca_file, folder, name, fatal = sys.argv[1:]
steps = 0
def step():
    global steps
    steps += 1
    if steps == int(fatal):
        os.kill(os.getpid(), signal.SIGKILL)
send, replace = ClientNetwork._send_request, storage.Path.replace
def killing_send(self, *args, **kwargs):
    step()
    response = send(self, *args, **kwargs)
    step()
    return response
def killing_replace(self, target):
    step()
    result = replace(self, target)
    step()
    return result
ClientNetwork._send_request, storage.Path.replace = killing_send, killing_replace
files = storage.CertificateFolder(Path(folder))
server = AcmeServer(directory, "admin@example.org", Path(ca_file))
certificates = AcmeCertificates(server, files, HttpPublisher(files), 40)
async def serve():
    await certificates.tidy()
    if name not in certificates.stored():
        await certificates.order(name)
asyncio.run(serve())
"""


class TestKills:
    async def test_an_order_killed_at_each_step_is_continued(self, tmp_path: Path, app: App) -> None:
        async with setting(tmp_path, app) as has:
            killed, step = 0, 1
            while await self.run(has, step) == -signal.SIGKILL:
                killed, step = killed + 1, step + 1
            assert killed >= 12
            assert await has.get(SHOP) == 200
            # A kill between an order's request and its reply loses a pending order, and no certificate.
            assert has.issuer.issued() == 1
            assert has.issuer.orders() <= 3
            assert list((has.folder.path / "orders").glob("*.json")) == []
            assert modes(has.folder.path) == {0o600}

    async def run(self, has: Setting, fatal: int) -> int:
        """Order in a process that kills itself at this step; returns its exit code."""
        words = [has.issuer.directory, str(has.issuer.ca_file), str(has.folder.path), SHOP, str(fatal)]
        return await asyncio.to_thread(
            lambda: subprocess.run([sys.executable, "-c", KILLER, *words], check=False, timeout=60).returncode
        )


async def until(is_done: object, seconds: float = 20) -> None:
    assert callable(is_done)
    async with asyncio.timeout(seconds):
        while not is_done():
            await asyncio.sleep(0.05)
