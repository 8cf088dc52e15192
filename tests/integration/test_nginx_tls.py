"""The server that `stager nginx config --certificate` prints, on a real nginx, before a real front."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from stager.routers.nginx import http2_syntax, server_for_all
from tests.integration.nginx import BINARY, NginxUnderTest, running_nginx
from tests.integration.stager import until
from tests.unit.front.harness import DOMAIN, HOST, App, Rig, certificate_in, rig

pytestmark = pytest.mark.skipif(not Path(BINARY).exists(), reason="no nginx: scripts/test installs one")


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path / "front") as running:
        yield running


@pytest.fixture
def nginx(tmp_path: Path, front: Rig) -> Iterator[NginxUnderTest]:
    certificate, key = certificate_in(tmp_path)
    with running_nginx(tmp_path / "nginx") as nginx:
        text = server_for_all(
            front=f"127.0.0.1:{front.port}",
            names=[DOMAIN, f"*.{DOMAIN}"],
            listen=[f"127.0.0.1:{nginx.port}"],
            certificate=str(certificate),
            key=str(key),
            http2=http2_syntax(),
        )
        (nginx.sites / "default").write_text(text)
        assert nginx.refuses() == ""
        nginx.reload()
        until(lambda: ask(nginx, "/")[0] == "503", "nginx has it")
        yield nginx


def ask(nginx: NginxUnderTest, path: str, *arguments: str, host: str = HOST) -> tuple[str, str]:
    """The status and the body that curl gets from nginx."""
    done = subprocess.run(
        ["curl", "-sk", "--max-time", "20", "-w", "\n%{http_code}",
         "--connect-to", f"::127.0.0.1:{nginx.port}", *arguments, f"https://{host}{path}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    body, _, status = done.stdout.rpartition("\n")
    return status, body


async def test_the_application_gets_consistent_headers(nginx: NginxUnderTest, front: Rig) -> None:
    app = App()
    await front.serve({HOST: await app.start()})
    lies = ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: http", "X-Forwarded-Host: evil.test",
            "X-Forwarded-Port: 80", "X-Real-IP: 6.6.6.6", "Forwarded: for=6.6.6.6;proto=http",
            "X-Forwarded-Ssl: off", "X-Forwarded-Scheme: http"]  # fmt: skip
    for given in ([], lies):
        arguments = [argument for line in given for argument in ("-H", line)]
        status, body = await asyncio.to_thread(ask, nginx, "/", *arguments)
        assert status == "200"
        headers = json.loads(body)["headers"]
        sent = {name: value for name, value in headers.items() if "forwarded" in name or name == "x-real-ip"}
        assert sent == {
            "x-forwarded-for": "127.0.0.1, 127.0.0.1",
            "x-forwarded-proto": "https",
            "x-forwarded-host": HOST,
            "x-forwarded-port": "443",
            "x-real-ip": "127.0.0.1",
            "forwarded": f'for=127.0.0.1;host="{HOST}";proto=https, for=127.0.0.1',
        }
    await app.stop()


async def test_it_supports_http_2(nginx: NginxUnderTest, front: Rig) -> None:
    app = App()
    await front.serve({HOST: await app.start()})
    for version, spoken in (("--http2", "2"), ("--http1.1", "1.1")):
        status, body = await asyncio.to_thread(ask, nginx, "/big?3", version, "-o", "/dev/null",
                                               "-w", "%{http_version}\n%{http_code}")  # fmt: skip
        assert (status, body) == ("200", spoken)
    await app.stop()


def test_the_installed_one_accepts_it(nginx: NginxUnderTest) -> None:
    done = subprocess.run([*nginx._command, "-t"], capture_output=True, text=True, check=False)
    assert "warn" not in done.stderr
