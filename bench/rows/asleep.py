"""The memory of previews that sleep."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.cgroups import memory_of
from bench.row import Chart, Figures, Line, Row
from bench.testbed import ROOT, Testbed
from tests.integration.images import base_image
from tests.integration.stager import StagerUnderTest, docker, until
from tests.integration.swap import ZRAM, NoSwapError, swap_file, zram

SIZE = 1 << 30
PATIENCE = 240.0
"""Seconds. Stager takes the memory back a minute after a preview fell asleep."""
SWAPS: dict[str, Callable[[Path], contextlib.AbstractContextManager[None]]] = {
    "file": lambda folder: swap_file(folder, SIZE),
    "zram": lambda _: zram(SIZE),
}
LIMITS = {"file": 8e6, "zram": 20e6}
APPS = {
    "python": ("python-build", "guestbook-flask", 8000),
    "node": ("node", "node-app", 3000),
    "static": ("static", "static-site", 8080),
}
"""The base image, the example and the port of each."""
FLASK = ["gunicorn", "--bind=0.0.0.0:8000", "--control-socket=/tmp/gunicorn.ctl", "flask:Flask('bench')"]
"""The example's own application needs a database."""
WORDS = {"python": "Flask", "node": "Node.js", "static": "static"}
PLACES = {"file": "in a swap file", "zram": "in zram"}


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: bytes by application, awake and for each kind of swap."""
    figures: dict[str, dict[str, int]] = {app: {} for app in APPS}
    images = {name: {"image": _built(name), "port": port} for name, (_, _, port) in APPS.items()}
    images["python"]["command"] = FLASK
    for swap, opened in SWAPS.items():
        try:
            with opened(testbed.folder), testbed.stager(images=images) as stager:
                _measure(stager, swap, figures)
        except NoSwapError as error:
            print(f"  no {swap}: {error}", flush=True)
    return figures


def _built(name: str) -> str:
    base, example, _ = APPS[name]
    image = f"stager-bench/{example}:1"
    base_image(base)
    build = ["docker", "buildx", "build", "--load", "--network=host", f"--tag={image}"]
    subprocess.run([*build, str(ROOT / "examples" / example)], check=True, capture_output=True)
    return image


def _measure(stager: StagerUnderTest, swap: str, figures: dict[str, dict[str, int]]) -> None:
    """Have all sleep at once; what zram takes is shared among them by what each gave."""
    for app in APPS:
        stager.launched(app, image=app)
        stager.get(app)
    containers = {app: _container(stager, app) for app in APPS}
    awake = {app: memory_of(container) for app, container in containers.items()}
    compressed = _compressed()
    for app in APPS:
        stager.api(f"/environments/{stager.environment(app)['id']}/sleep", "POST")
    until(
        lambda: stager.log.read_text().count('"memory_reclaimed"') >= len(APPS), "it was taken back", PATIENCE
    )
    left = {app: memory_of(container) for app, container in containers.items()}
    given = {app: awake[app] - left[app] for app in APPS}
    more = max(0, _compressed() - compressed)
    for app in APPS:
        figures[app]["awake"] = awake[app]
        figures[app][swap] = left[app] + round(more * given[app] / sum(given.values()))


def _container(stager: StagerUnderTest, app: str) -> str:
    [container] = stager.containers(f"label=stager.app={app}")
    return docker("inspect", "--format", "{{.Id}}", container)


def _compressed() -> int:
    """Bytes of memory that zram uses (Documentation/admin-guide/blockdev/zram.rst, `mm_stat`)."""
    return int((ZRAM / "mm_stat").read_text().split()[2]) if ZRAM.exists() else 0


def lines(figures: Figures) -> list[Line]:
    """A line for each application and kind of swap."""
    return [
        Line(
            what=f"Memory of a sleeping {WORDS[app]} preview, with its memory {PLACES[swap]}",
            floor=f"{_megabytes(figures[app]['awake'])} awake",
            ours=_megabytes(figures[app][swap]),
            budget=f"less than {_megabytes(limit)}",
            value=figures[app][swap],
            limit=limit,
            headline=f"A sleeping {WORDS[app]} preview uses {_megabytes(figures[app][swap])} of memory,"
            f" {_megabytes(figures[app]['awake'])} awake" if app == "python" and swap == "file" else "",
        )
        for app in APPS
        for swap, limit in LIMITS.items()
        if swap in figures[app]
    ]  # fmt: skip


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.1f} MB" if count < 1e7 else f"{count / 1e6:.0f} MB"


def charts(figures: Figures) -> list[Chart]:
    """Awake and asleep, in megabytes."""
    names = {"awake": "awake", "file": "asleep, swap file", "zram": "asleep, zram"}
    bars = [
        (f"{WORDS[app]}, {names[state]}", round(figures[app][state] / 1e6, 1))
        for app in APPS
        for state in names
        if state in figures[app]
    ]
    return [Chart("bench-asleep", "Memory of a preview, awake and asleep", "MB", bars)]


ABOUT = """\
Flask with gunicorn, Node.js and a static site, in images of the examples. Counted is the memory of the
preview's control group, with caches and the kernel's part, and of the process that Docker has for each
container, without its program, which all share; for zram, also what it takes to hold the memory, compressed.
Each preview is requested, put to sleep, and measured once Stager has taken its memory back.
"""

ROW = Row(
    "asleep",
    "Memory of sleeping previews",
    ABOUT.strip(),
    measure,
    lines,
    charts,
)
