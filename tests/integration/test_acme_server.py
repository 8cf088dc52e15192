"""HTTPS by itself, from the configuration on: a whole Stager on real Docker, with Pebble."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.integration.conftest import MakeStager
from tests.integration.pebble import DOMAIN, Pebble, needs_pebble, pebble
from tests.integration.stager import StagerUnderTest, until
from tests.unit.front.harness import free_port, read_response, request

pytestmark = needs_pebble


async def test_a_launched_preview_is_served_over_https(make_stager: MakeStager, tmp_path: Path) -> None:
    port, secure = free_port(), free_port()
    (tmp_path / "pebble").mkdir()
    async with pebble(tmp_path / "pebble", http_port=port) as issuer:
        stager = make_stager(start=False, **configuration(issuer, port, secure))
        stager.port = port
        await asyncio.to_thread(stager.start)
        url = await asyncio.to_thread(stager.launched)
        assert url == f"https://test.{DOMAIN}:{secure}"
        assert await get(issuer, secure, f"test.{DOMAIN}") == 200
        await asyncio.to_thread(until, lambda: issuer.issued() == 2, "Stager's own host has one, too")
        assert await get(issuer, secure, DOMAIN, "/healthz") == 200
        assert redirect(port, f"test.{DOMAIN}", "/x") == f"https://test.{DOMAIN}:{secure}/x"
        await asyncio.to_thread(stager.restart)
        assert await get(issuer, secure, f"test.{DOMAIN}") == 200
        assert issuer.issued() == 2
        said = await asyncio.to_thread(doctor, stager)
        assert "2 certificates; the first one expires on " in said, said


def configuration(issuer: Pebble, port: int, secure: int) -> dict[str, Any]:
    acme = {"email": "admin@example.org", "directory": issuer.directory, "ca_file": str(issuer.ca_file)}
    return {
        "domain": f"{DOMAIN}:{secure}",
        "scheme": "https",
        "listen": f"127.0.0.1:{port}",
        "tls": {"listen": f"127.0.0.1:{secure}", "acme": acme},
    }


async def get(issuer: Pebble, port: int, host: str, target: str = "/") -> int:
    """The status of a request over HTTPS by a client that trusts the issuer alone."""
    context = ssl.create_default_context(cadata=issuer.root())
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    writer.write(request(target, host=f"{host}:{port}"))
    response = await asyncio.wait_for(read_response(reader), 20)
    writer.close()
    return response.status


def redirect(port: int, host: str, target: str) -> str:
    answer = httpx.get(f"http://127.0.0.1:{port}{target}", headers={"Host": host})
    assert answer.status_code == 308
    return answer.headers["location"]


def doctor(stager: StagerUnderTest) -> str:
    words = [sys.executable, "-m", "stager", "doctor", "--config", str(stager.config)]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout
