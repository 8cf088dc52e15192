"""A front on a full disk: it serves what it could read, also after it was killed, and reports the problem."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stager.domain.route import RouteTable
from tests.unit.front.harness import DOMAIN, HOST, App, rig

OTHER = f"b.{DOMAIN}"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system can't be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass
    return path


async def test_it_serves_on_and_comes_back(small: Path) -> None:
    app = App()
    await app.start()
    async with rig(small / "front") as front:
        reports: list[str] = []
        keeping = asyncio.create_task(front.launcher.keep(reports.append))
        table = await front.serve({HOST: app.endpoint})
        filler = fill(small)
        # A change that can't be saved is served all the same.
        changed = table.upsert(OTHER, app.endpoint)
        big = RouteTable({**changed.routes, **{f"n{n}.{DOMAIN}": app.endpoint for n in range(200)}}, DOMAIN)
        await front.client.update(table, big)
        assert (await front.ask(host=OTHER)).status == 200
        assert "No space left" in (await front.client.health()).problem
        # It dies, and is back by itself with what could be read.
        os.kill(front.hello.pid, signal.SIGKILL)
        await front.client.until_gone()
        assert (await asyncio.wait_for(front.ask(), 10)).status == 200
        assert (await front.client.connect()).pid != front.hello.pid
        assert (await front.client.current()).routes[HOST] == app.endpoint
        # What the control plane tells it then is served, and saved as soon as there is room.
        await front.client.apply(big)
        assert (await front.ask(host=OTHER)).status == 200
        filler.unlink()
        async with asyncio.timeout(15):
            while (await front.client.health()).problem:
                await asyncio.sleep(0.1)
        pid = (await front.client.connect()).pid
        os.kill(pid, signal.SIGKILL)
        await front.client.until_gone()
        assert (await asyncio.wait_for(front.ask(host=OTHER), 10)).status == 200
        assert (await front.client.current()) == big
        keeping.cancel()
        assert [report for report in reports if report] == []
    await app.stop()


async def test_why_it_does_not_start_is_reported(tmp_path: Path) -> None:
    async with rig(tmp_path / "front") as front:
        reports: list[str] = []
        keeping = asyncio.create_task(front.launcher.keep(reports.append))
        await asyncio.sleep(0.2)
        key = tmp_path / "front" / "access.key"
        whole = key.read_bytes()
        key.write_bytes(b"too short")
        os.kill(front.hello.pid, signal.SIGKILL)
        async with asyncio.timeout(15):
            while not reports:
                await asyncio.sleep(0.05)
        assert "The front did not start" in reports[0]
        assert "access.key isn't a key" in reports[0]
        key.write_bytes(whole)
        async with asyncio.timeout(15):
            while reports[-1]:
                await asyncio.sleep(0.05)
        keeping.cancel()
        assert (await front.ask(host=f"nobody.{DOMAIN}")).status in {404, 503}
