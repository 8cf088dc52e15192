"""A test issuer: Pebble, Let's Encrypt's own, with its name server or a real one (Knot). All on 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.certificates import self_signed
from tests.unit.front.harness import free_port

DOMAIN = "demo.example.org"
TSIG_NAME, TSIG_SECRET = "stager", "c3RhZ2VyLXN0YWdlci1zdGFnZXItc3RhZ2VyLTEyMzQ="


def has_pebble() -> bool:
    """Whether the package is installed."""
    return bool(shutil.which("pebble") and shutil.which("pebble-challtestsrv"))


needs_pebble = pytest.mark.skipif(not has_pebble(), reason="needs the package pebble")
needs_knot = pytest.mark.skipif(
    not shutil.which("knotd", path="/usr/sbin:/usr/bin"), reason="needs the package knot"
)


@dataclass(frozen=True)
class Pebble:
    """A running Pebble."""

    directory: str
    ca_file: Path
    management: str
    log: Path
    dns: str

    def orders(self) -> int:
        """How many orders were placed."""
        return self.log.read_text().count("Added order")

    def issued(self) -> int:
        """How many certificates were issued."""
        return self.log.read_text().count("Issued certificate")

    def root(self) -> str:
        """The root certificate, as PEM."""
        context = ssl.create_default_context(cafile=self.ca_file)
        with urllib.request.urlopen(f"{self.management}/roots/0", context=context) as response:
            text: str = response.read().decode()
        return text


@contextlib.asynccontextmanager
async def pebble(
    folder: Path, *, http_port: int, dns: str = "", validity: int = 0, strict: bool = True
) -> AsyncIterator[Pebble]:
    """A running Pebble.

    Args:
        folder: for its files.
        http_port: where it validates HTTP-01.
        dns: the address of a name server; empty: a new challtestsrv, for which all names are 127.0.0.1.
        validity: of certificates, in seconds; 0: its default.
    """
    async with contextlib.AsyncExitStack() as stack:
        management = ""
        if not dns:
            dns, management = await stack.enter_async_context(_challtestsrv(folder))
        acme, control = free_port(), free_port()
        chain, key = self_signed("localhost")
        ca_file = folder / "pebble.pem"
        ca_file.write_bytes(chain)
        (folder / "pebble.key").write_bytes(key)
        config = {
            "listenAddress": f"127.0.0.1:{acme}",
            "managementListenAddress": f"127.0.0.1:{control}",
            "certificate": str(ca_file),
            "privateKey": str(folder / "pebble.key"),
            "httpPort": http_port,
            "tlsPort": free_port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            **({"certificateValidityPeriod": validity} if validity else {}),
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": config}))
        words = ["pebble", "-config", str(folder / "pebble.json"), "-dnsserver", dns]
        words += ["-strict"] if strict else []
        log = folder / "pebble.log"
        environ = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "5", "PEBBLE_AUTHZREUSE": "0"}
        await stack.enter_async_context(_process(words, log, acme, environ))
        yield Pebble(
            f"https://localhost:{acme}/dir", ca_file, f"https://localhost:{control}", log, management
        )


@contextlib.asynccontextmanager
async def _challtestsrv(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """Pebble's name server: its address, and the URL that changes its records."""
    port, control = free_port(), free_port()
    words = ["pebble-challtestsrv", "-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]
    words += [
        "-dns01",
        f"127.0.0.1:{port}",
        "-management",
        f"127.0.0.1:{control}",
        "-defaultIPv4",
        "127.0.0.1",
    ]
    async with _process(words, folder / "challtestsrv.log", control):
        yield f"127.0.0.1:{port}", f"http://127.0.0.1:{control}"


@contextlib.asynccontextmanager
async def knot(folder: Path) -> AsyncIterator[str]:
    """The address of a real name server, primary for `DOMAIN`, that accepts updates with a TSIG key."""
    port = free_port()
    (folder / f"{DOMAIN}.zone").write_text(
        f"$ORIGIN {DOMAIN}.\n$TTL 60\n"
        f"@ SOA ns.{DOMAIN}. admin.{DOMAIN}. 1 3600 600 86400 60\n@ NS ns.{DOMAIN}.\n"
        "@ A 127.0.0.1\nns A 127.0.0.1\n* A 127.0.0.1\n"
    )
    (folder / "knot.conf").write_text(
        f"server:\n    rundir: {folder}\n    listen: 127.0.0.1@{port}\n"
        f"database:\n    storage: {folder}/db\n"
        f"key:\n  - id: {TSIG_NAME}\n    algorithm: hmac-sha256\n    secret: {TSIG_SECRET}\n"
        f"acl:\n  - id: update\n    key: {TSIG_NAME}\n    action: update\n    update-type: TXT\n"
        f"template:\n  - id: default\n    storage: {folder}\n"
        "    journal-content: none\n    zonefile-load: whole\n"
        f"zone:\n  - domain: {DOMAIN}\n    acl: update\n"
    )
    words = ["knotd", "-c", str(folder / "knot.conf")]
    async with _process(words, folder / "knot.log", port):
        yield f"127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def _process(
    words: Sequence[str], log: Path, port: int, environ: dict[str, str] | None = None
) -> AsyncIterator[None]:
    """A process that listens at this TCP port."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, stdout=output, stderr=output, env={**os.environ, "PATH": path, **(environ or {})}
        )
    try:
        async with asyncio.timeout(20):
            while not _listens(port):
                assert process.poll() is None, log.read_text()
                await asyncio.sleep(0.05)
        yield
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
