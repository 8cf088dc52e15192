"""HTTPS of the front as a process: certificates by name, waiting handshakes, redirects, challenges, HSTS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from stager.domain.identity.access_policy import AccessPolicy, Guard
from stager.domain.route import Endpoint, Page, RouteTable
from stager.front.http.limits import Limits
from stager.front.process.launcher import FrontLauncher, FrontOptions
from tests.certificates import names_in, serve
from tests.unit.front.harness import (
    DOMAIN,
    HOST,
    App,
    Rig,
    certificate_in,
    free_port,
    read_response,
    request,
    rig,
    trusting,
)

OTHER, GONE = f"other.{DOMAIN}", f"gone.{DOMAIN}"
HSTS = 3600


class Secure:
    """A front with HTTPS."""

    def __init__(self, front: Rig, port: int, folder: Path) -> None:
        self.front = front
        self.port = port
        self.served = folder / "served"
        self.challenges = folder / "challenges"

    async def connect(self, host: str | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=trusting(), server_hostname=host or "", ssl_handshake_timeout=20
        )

    async def names(self, host: str) -> list[str]:
        """The names of the certificate that a client gets."""
        _, writer = await self.connect(host)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return names_in(der)

    @contextlib.asynccontextmanager
    async def requests(self) -> AsyncIterator[asyncio.Queue[str]]:
        """The hosts for which the front requests certificates."""
        hosts: asyncio.Queue[str] = asyncio.Queue()

        async def follow() -> None:
            async for host in self.front.client.certificate_requests():
                hosts.put_nowait(host)

        task = asyncio.create_task(follow())
        await asyncio.sleep(0.2)
        yield hosts
        task.cancel()


@contextlib.asynccontextmanager
async def secure(tmp_path: Path, app: App, limits: Limits | None = None) -> AsyncIterator[Secure]:
    folder = tmp_path / "acme"
    for name in ("served", "challenges"):
        (folder / name).mkdir(parents=True)
    port, tls = free_port(), free_port()
    options = FrontOptions(
        listen=f"127.0.0.1:{port}",
        tls_listen=f"127.0.0.1:{tls}",
        acme_folder=str(folder),
        https_port=tls,
        hsts=HSTS,
        limits=limits or Limits(),
    )
    async with rig(tmp_path / "front", options, port) as front:
        guarded = AccessPolicy(
            Guard(frozenset({"password"}), "e", "http://x/", 60, "", frozenset(), (OTHER,), "")
        )
        table = RouteTable({HOST: app.endpoint, OTHER: app.endpoint}, DOMAIN, Endpoint("127.0.0.1", 9))
        table = table.upsert(GONE, Page("gone")).with_policies({OTHER: guarded})
        await front.client.apply(table)
        yield Secure(front, tls, folder)


class TestCertificates:
    async def test_they_are_chosen_by_name(self, tmp_path: Path, app: App) -> None:
        async with secure(tmp_path, app) as front:
            serve(front.served, HOST)
            serve(front.served, f"*.{DOMAIN}")
            assert await front.names(HOST) == [HOST]
            assert await front.names(OTHER) == [f"*.{DOMAIN}"]

    async def test_a_renewed_one_is_used_and_connections_stay(self, tmp_path: Path, app: App) -> None:
        async with secure(tmp_path, app) as front:
            serve(front.served, HOST)
            reader, writer = await front.connect(HOST)
            before = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            serve(front.served, HOST)
            os.kill(front.front.hello.pid, signal.SIGHUP)
            await asyncio.sleep(0.3)
            _, fresh = await front.connect(HOST)
            assert fresh.get_extra_info("ssl_object").getpeercert(binary_form=True) != before
            fresh.close()
            writer.write(request())
            assert (await read_response(reader)).status == 200
            writer.close()

    async def test_a_handshake_waits_for_a_certificate(self, tmp_path: Path, app: App) -> None:
        async with secure(tmp_path, app) as front, front.requests() as hosts:
            waiting = [asyncio.create_task(front.names(HOST)) for _ in range(10)]
            assert await asyncio.wait_for(hosts.get(), 5) == HOST
            assert not any(task.done() for task in waiting)
            await asyncio.sleep(0.5)
            assert hosts.qsize() < 5, "one event a second, however many clients wait"
            serve(front.served, HOST)
            assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [[HOST]] * 10

    async def test_after_a_failed_order_a_handshake_waits_only_for_a_moment(
        self, tmp_path: Path, app: App
    ) -> None:
        async with secure(tmp_path, app) as front, front.requests() as hosts:
            failed = front.served.parent / "failed"
            failed.mkdir()
            (failed / HOST).touch()
            with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
                await asyncio.wait_for(front.connect(HOST), 10)
            assert hosts.get_nowait() == HOST

    @pytest.mark.parametrize("host", [f"unknown.{DOMAIN}", GONE, "evil.example.com", None])
    async def test_other_names_are_rejected_at_once(self, tmp_path: Path, app: App, host: str | None) -> None:
        async with secure(tmp_path, app) as front, front.requests() as hosts:
            with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
                await asyncio.wait_for(front.connect(host), 5)
            await asyncio.sleep(0.2)
            assert hosts.empty()

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    async def test_sessions_are_resumed(self, tmp_path: Path, app: App, version: ssl.TLSVersion) -> None:
        async with secure(tmp_path, app) as front:
            serve(front.served, HOST)
            context = trusting()
            context.maximum_version = version
            session = None
            for _ in range(2):
                was_reused, session = await asyncio.to_thread(visit, context, front.port, session)
            assert was_reused

    async def test_a_hello_in_pieces(self, tmp_path: Path, app: App) -> None:
        async with secure(tmp_path, app) as front:
            serve(front.served, HOST)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = trusting().wrap_bio(incoming, outgoing, server_hostname=HOST)
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            for byte in outgoing.read():
                writer.write(bytes([byte]))
                await writer.drain()
            incoming.write(await asyncio.wait_for(reader.read(65_536), 5))
            client.do_handshake()
            der = client.getpeercert(binary_form=True)
            assert der is not None
            assert names_in(der) == [HOST]
            writer.close()

    async def test_silent_clients_are_disconnected(self, tmp_path: Path, app: App) -> None:
        async with secure(tmp_path, app, Limits(head_seconds=1.0)) as front:
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(b"\x16\x03\x01\x02\x00")
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()

    @pytest.mark.attack(
        "Thousands of TLS handshakes that are never completed",
        profile="visitor",
        result="they count as connections: limited in total and per address, and closed after 15 s",
    )
    async def test_handshakes_are_limited(self, tmp_path: Path, app: App) -> None:
        async with (
            secure(tmp_path, app, Limits(connections=8)) as front,
            contextlib.AsyncExitStack() as stack,
        ):
            for _ in range(8):
                _, writer = await asyncio.open_connection("127.0.0.1", front.port)
                stack.callback(writer.close)
            await asyncio.sleep(0.2)
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            stack.callback(writer.close)
            assert await asyncio.wait_for(reader.read(), 5) == b""

    async def test_a_successor_has_the_certificates_too(self, tmp_path: Path, app: App) -> None:
        async with secure(tmp_path, app) as front:
            serve(front.served, HOST)
            os.kill(front.front.hello.pid, signal.SIGKILL)
            hello = await front.front.launcher.ensure()
            assert hello.pid != front.front.hello.pid
            assert await front.names(HOST) == [HOST]


def visit(
    context: ssl.SSLContext, port: int, session: ssl.SSLSession | None
) -> tuple[bool | None, ssl.SSLSession | None]:
    """One request; whether the session was resumed, and the session."""
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname=HOST, session=session) as tls,
    ):
        tls.sendall(request())
        assert tls.recv(65_536).startswith(b"HTTP/1.1 200")
        return tls.session_reused, tls.session


class TestHandover:
    async def test_no_request_on_a_new_connection_fails(self, tmp_path: Path, app: App) -> None:
        async with secure(tmp_path, app) as front:
            serve(front.served, HOST)
            answers: list[int] = []
            is_over = False

            async def visit_often() -> None:
                while not is_over:
                    reader, writer = await front.connect(HOST)
                    writer.write(request())
                    answers.append((await read_response(reader)).status)
                    writer.close()

            visiting = [asyncio.create_task(visit_often()) for _ in range(4)]
            for seconds in (71.0, 72.0, 73.0):
                await asyncio.sleep(0.5)
                options = replace(front.front.options, limits=Limits(idle_seconds=seconds))
                launcher = FrontLauncher(front.front.state_dir, options)
                await launcher.ensure()
                launcher.release()
            is_over = True
            await asyncio.gather(*visiting)
            assert set(answers) == {200}


class TestPlainHttp:
    async def test_hosts_with_https_are_redirected(self, tmp_path: Path, app: App) -> None:
        async with secure(tmp_path, app) as front:
            response = await front.front.ask("/a?b=c", method="POST", body=b"x")
            assert response.status == 308
            assert response.headers["location"] == f"https://{HOST}:{front.port}/a?b=c"
            behind = await front.front.ask("/", "X-Forwarded-Proto: https")
            assert behind.status == 200

    async def test_an_unknown_host_gets_its_page(self, tmp_path: Path, app: App) -> None:
        async with secure(tmp_path, app) as front:
            assert (await front.front.ask(host=f"unknown.{DOMAIN}")).status == 404
            serve(front.served, f"*.{DOMAIN}")
            assert (await front.front.ask(host=f"unknown.{DOMAIN}")).status == 308

    @pytest.mark.parametrize("host", [HOST, OTHER, GONE, f"unknown.{DOMAIN}", "home.example.com"])
    async def test_a_challenge_is_answered_before_routing(self, tmp_path: Path, app: App, host: str) -> None:
        async with secure(tmp_path, app) as front:
            (front.challenges / "token").write_text("token.digest")
            response = await front.front.ask("/.well-known/acme-challenge/token", host=host)
            assert (response.status, response.body) == (200, b"token.digest\n")

    @pytest.mark.attack(
        "A certificate for its own host, ordered by its own ACME client, which uses up the issuer's limit",
        profile="preview",
        result="404: with `tls.acme`, challenges are never routed to previews",
    )
    async def test_a_preview_gets_no_challenges(self, tmp_path: Path, app: App) -> None:
        async with secure(tmp_path, app) as front:
            assert (await front.front.ask("/.well-known/acme-challenge/its-own")).status == 404
            assert app.connections == 0


class TestHsts:
    async def test_all_responses_over_https_have_it(self, tmp_path: Path, app: App) -> None:
        async with secure(tmp_path, app) as front:
            serve(front.served, f"*.{DOMAIN}")
            reader, writer = await front.connect(HOST)
            for host, status in ((HOST, 200), (GONE, 410), (OTHER, 401), (f"unknown.{DOMAIN}", 404)):
                writer.write(request(host=host))
                response = await read_response(reader)
                assert (response.status, response.headers["strict-transport-security"]) == (
                    status,
                    f"max-age={HSTS}",
                )
            writer.close()
            assert "strict-transport-security" not in (await front.front.ask(host="10.0.0.1")).headers

    async def test_a_pair_of_files_has_redirects_and_limits_too(self, tmp_path: Path, app: App) -> None:
        certificate, key = certificate_in(tmp_path)
        port, tls = free_port(), free_port()
        options = FrontOptions(
            listen=f"127.0.0.1:{port}",
            tls_listen=f"127.0.0.1:{tls}",
            tls_certificate=str(certificate),
            tls_key=str(key),
            https_port=443,
            limits=Limits(connections=4),
        )
        async with rig(tmp_path / "front", options, port) as front:
            await front.serve({HOST: app.endpoint})
            assert (await front.ask("/x")).headers["location"] == f"https://{HOST}/x"
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(4):
                    _, writer = await asyncio.open_connection("127.0.0.1", tls)
                    stack.callback(writer.close)
                await asyncio.sleep(0.2)
                reader, writer = await asyncio.open_connection("127.0.0.1", tls)
                stack.callback(writer.close)
                assert await asyncio.wait_for(reader.read(), 5) == b""
