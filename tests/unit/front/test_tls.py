"""The certificates of the HTTPS listener, in memory: the choice by name, changed files, hostile names."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
from pathlib import Path

import pytest

from stager.front.process import tls_greeter
from stager.front.process.tls import Certificates
from stager.front.process.tls_greeter import ClientHello, read_hello
from tests.certificates import names_in, self_signed, serve

SHOP, DOMAIN = "shop.demo.example.org", "demo.example.org"


def client(server_name: str | None, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Client:
    return Client(server_name, version)


class Client:
    """A TLS client without a socket."""

    def __init__(self, server_name: str | None, version: ssl.TLSVersion) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = version
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)
        self._step(self.tls)
        self.hello = self.outgoing.read()

    def names_from(self, certificates: Certificates) -> list[str]:
        """The names in the certificate that the server presents. Raises ssl.SSLError for an alert."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = certificates.context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(self.hello)
        error: ssl.SSLError | None = None
        for _ in range(4):
            try:
                self._step(server)
            except ssl.SSLError as failed:
                error = failed
            self.incoming.write(outgoing.read())
            self._step(self.tls)  # raises for the alert that the server has sent
            incoming.write(self.outgoing.read())
        assert error is None
        der = self.tls.getpeercert(binary_form=True)
        assert der is not None
        return names_in(der)

    @staticmethod
    def _step(side: ssl.SSLObject) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()


class TestChoice:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_a_certificate_of_the_host_goes_before_a_wildcard(
        self, tmp_path: Path, version: ssl.TLSVersion
    ) -> None:
        serve(tmp_path, SHOP)
        serve(tmp_path, f"*.{DOMAIN}")
        certificates = Certificates(folder=tmp_path)
        assert client(SHOP, version=version).names_from(certificates) == [SHOP]
        assert client(f"other.{DOMAIN}", version=version).names_from(certificates) == [f"*.{DOMAIN}"]

    @pytest.mark.parametrize("name", ["other.example.org", DOMAIN, f"a.b.{DOMAIN}", None])
    def test_a_client_with_another_name_gets_an_alert(self, tmp_path: Path, name: str | None) -> None:
        serve(tmp_path, f"*.{DOMAIN}")
        certificates = Certificates(folder=tmp_path)
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            client(name).names_from(certificates)

    def test_a_certificate_that_appears_is_found_at_once(self, tmp_path: Path) -> None:
        certificates = Certificates(folder=tmp_path)
        assert not certificates.has(SHOP)
        serve(tmp_path, SHOP)
        assert certificates.has(SHOP)
        assert client(SHOP).names_from(certificates) == [SHOP]

    @pytest.mark.parametrize(
        "name", ["../secret", "a/../../b.c", "", ".", "a..b", "*.example.org", "_.demo.example.org"]
    )
    def test_no_name_leads_out_of_the_folder(self, tmp_path: Path, name: str) -> None:
        serve(tmp_path / "served", "secret")
        serve(tmp_path / "served", f"*.{DOMAIN}")
        assert not Certificates(folder=tmp_path / "served" / "deeper").has(name)
        assert not Certificates(folder=tmp_path / "served").has(name)

    def test_a_name_too_long_for_a_file_isnt_logged(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        name = ".".join(["a" * 63] * 10)
        certificates = Certificates(folder=tmp_path)
        assert not certificates.has(name)
        assert not certificates.has_failed(name)
        assert not certificates.has(f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}")
        assert capsys.readouterr().err == ""


class TestFiles:
    def test_a_renewed_file_is_loaded(self, tmp_path: Path) -> None:
        serve(tmp_path, SHOP)
        certificates = Certificates(folder=tmp_path)
        first = presented(certificates)
        certificates.refresh()
        assert presented(certificates) == first
        serve(tmp_path, SHOP)
        certificates.refresh()
        assert presented(certificates) != first

    def test_an_invalid_file_leaves_the_old_certificate_in_use(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        serve(tmp_path, SHOP)
        certificates = Certificates(folder=tmp_path)
        first = presented(certificates)
        (tmp_path / f"{SHOP}.pem").write_text("nonsense")
        certificates.refresh()
        assert presented(certificates) == first
        assert "the old one stays in use" in capsys.readouterr().err

    def test_a_removed_file_is_forgotten(self, tmp_path: Path) -> None:
        serve(tmp_path, SHOP)
        certificates = Certificates(folder=tmp_path)
        assert certificates.has(SHOP)
        (tmp_path / f"{SHOP}.pem").unlink()
        certificates.refresh()
        assert not certificates.has(SHOP)

    def test_only_the_most_recently_used_stay_in_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("stager.front.process.tls._MAX_LOADED", 2)
        for name in ("a.example.org", "b.example.org", "c.example.org"):
            serve(tmp_path, name)
        certificates = Certificates(folder=tmp_path)
        for name in ("a.example.org", "b.example.org", "a.example.org", "c.example.org"):
            assert certificates.has(name)
        assert list(certificates._loaded) == ["a.example.org", "c.example.org"]

    def test_a_pair_of_files_is_for_all_clients(self, tmp_path: Path) -> None:
        chain, key = self_signed(SHOP)
        (tmp_path / "chain.pem").write_bytes(chain)
        (tmp_path / "key.pem").write_bytes(key)
        certificates = Certificates((tmp_path / "chain.pem", tmp_path / "key.pem"))
        assert certificates.has("any.example.com")
        assert client(None).names_from(certificates) == [SHOP]


async def test_a_slow_hello_is_read_only_when_it_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, a thousand clients that send one byte each would keep a processor busy."""
    sizes: list[int] = []

    def read(data: bytes) -> ClientHello | None:
        sizes.append(len(data))
        return ClientHello(SHOP, b"") if len(data) == 2 else None

    monkeypatch.setattr(tls_greeter, "read_hello", read)
    visitor, server = socket.socketpair()
    with visitor, server:
        server.setblocking(False)
        visitor.send(b"1")
        reading = asyncio.create_task(tls_greeter._receive_hello(server))
        await asyncio.sleep(0.2)
        visitor.send(b"2")
        assert (await asyncio.wait_for(reading, 10)).host == SHOP
    assert sizes == [1, 2]


class TestRequestedHost:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_it_is_read_from_the_hello(self, version: ssl.TLSVersion) -> None:
        hello = read_hello(client("Shop.Demo.example.org", version=version).hello)
        assert hello is not None
        assert hello.host == SHOP

    def test_a_client_may_request_none(self) -> None:
        hello = read_hello(client(None).hello)
        assert hello is not None
        assert hello.host == ""

    def test_a_name_that_isnt_ascii_is_none_and_isnt_logged(self) -> None:
        data = client(SHOP).hello.replace(SHOP.encode(), b"\xff" * len(SHOP))
        reported: list[object] = []
        hook, sys.unraisablehook = sys.unraisablehook, reported.append
        try:
            hello = read_hello(data)
        finally:
            sys.unraisablehook = hook
        assert hello is not None
        assert (hello.host, reported) == ("", [])

    def test_each_part_of_a_hello_is_incomplete(self) -> None:
        data = client(SHOP).hello
        assert {read_hello(data[:length]) for length in range(1, len(data))} == {None}
        assert read_hello(data) is not None

    def test_the_rejection_is_an_alert_for_the_client(self) -> None:
        rejected = client("unknown.example.org")
        hello = read_hello(rejected.hello)
        assert hello is not None
        rejected.incoming.write(hello.rejection)
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            rejected.tls.do_handshake()

    @pytest.mark.parametrize(
        "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 100]
    )
    def test_other_data_requests_none(self, data: bytes) -> None:
        hello = read_hello(data)
        assert hello is None or hello.host == ""


def presented(certificates: Certificates) -> bytes:
    """The certificate that a client of `SHOP` gets."""
    visitor = client(SHOP)
    visitor.names_from(certificates)
    der = visitor.tls.getpeercert(binary_form=True)
    assert der is not None
    return der
