"""`stager up` in a folder, until the page is live, with a warm build cache."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx

from bench.byhand import LOOK_EVERY
from bench.figures import median, rounded, seconds
from bench.processes import cpu_seconds
from bench.pushing import dockerfile
from bench.row import Chart, Figures, Line, Row
from bench.testbed import PORT, Testbed
from tests.integration.stager import PATIENCE, docker

RUNS = 10
LIMIT = 1.0
NAME = "shop"
TAG = "stager-bench/up:{}"
HAND_PORT = 18000


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: seconds of each run, and the command's processor time until the page was live."""
    folder = testbed.folder / NAME
    folder.mkdir()
    (folder / "Dockerfile").write_text(dockerfile())
    taken: dict[str, list[float]] = {"floor": [], "stager": [], "processor": []}
    try:
        for number in range(-1, RUNS):  # the first fills the cache, and creates the state folder
            floor = _by_hand(folder, _change(folder, f"by hand {number}"), TAG.format(number + 1))
            stager, processor = _up(folder, _change(folder, f"stager {number}"), testbed.folder)
            if number >= 0:
                for name, value in (("floor", floor), ("stager", stager), ("processor", processor)):
                    taken[name].append(value)
    finally:
        docker("image", "rm", "--force", *(TAG.format(number) for number in range(RUNS + 1)))
    return {name: rounded(values, 3) for name, values in taken.items()}


def _change(folder: Path, page: str) -> str:
    """Change the page."""
    (folder / "index.html").write_text(page)
    return page


def _by_hand(folder: Path, page: str, tag: str) -> float:
    begun = perf_counter()
    build = ["docker", "build", "--quiet", "--tag", tag, str(folder)]
    # Docker before 23 has another builder by default.
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "DOCKER_BUILDKIT": "1"})
    options = ("--detach", "--init", "--label", "stager.test", "--publish", f"127.0.0.1:{HAND_PORT}:{PORT}")
    made = docker("run", *options, tag)
    try:
        _until_shown(f"http://127.0.0.1:{HAND_PORT}", "", page)
        return perf_counter() - begun
    finally:
        docker("rm", "--force", "--volumes", made)


def _up(folder: Path, page: str, states: Path) -> tuple[float, float]:
    begun = perf_counter()
    with _running(folder, states) as process:
        assert process.stdout
        found = next(filter(None, (re.search(r"http://(\S+:(\d+))", line) for line in process.stdout)))
        _until_shown(f"http://127.0.0.1:{found[2]}", found[1], page)
        return perf_counter() - begun, cpu_seconds(process.pid)


@contextlib.contextmanager
def _running(folder: Path, states: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "stager", "up", str(folder), "--port", "0"]
    environ = {**os.environ, "XDG_STATE_HOME": str(states), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)


def _until_shown(url: str, host: str, page: str) -> None:
    headers = {"Host": host} if host else {}
    with httpx.Client(trust_env=False, headers=headers) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if client.get(url).text == page:
                    return
            time.sleep(LOOK_EVERY)


def lines(figures: Figures) -> list[Line]:
    """The one line."""
    floor, ours = median(figures["floor"]), median(figures["stager"])
    return [
        Line(
            what="`stager up` in a folder, to its first 200, with a warm build cache",
            floor=seconds(floor),
            ours=f"{seconds(ours)}, {seconds(ours - floor)} more",
            budget=f"at most {seconds(LIMIT)} more",
            value=ours - floor,
            limit=LIMIT,
        )
    ]


def charts(figures: Figures) -> list[Chart]:
    """The medians."""
    bars = [
        ("docker build and docker run", median(figures["floor"])),
        ("stager up", median(figures["stager"])),
    ]
    return [Chart("bench-up", "From the command to the first 200", "s", bars)]


ABOUT = """\
One file of a folder changes; all layers except that of the file are in the build cache. The floor is
`docker build` and `docker run` with a published port, and a request every 5 ms until the page is shown.
Stager's time begins with the command, which starts a server of its own, and ends when the page is shown at
the URL that it printed. It includes the start of Python and all imports. The raw figures have the command's
own processor time as well.
"""

ROW = Row("up", "Previewing a folder", ABOUT.strip(), measure, lines, charts)
