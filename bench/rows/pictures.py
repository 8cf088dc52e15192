"""From a push to the pull request's comment with pictures, and the memory of the browser's container."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from bench.cgroups import group_of
from bench.figures import median, rounded, seconds, times
from bench.row import Chart, Figures, Line, Row
from bench.testbed import Testbed
from stager.helper.memory.cgroups import VERSIONS, find_cgroups
from tests.doubles.git import BareRepository
from tests.integration.github import running_github
from tests.integration.pictured import BROWSER, PAGE, PicturedPull, settings
from tests.integration.stager import docker

PUSHES = 7
WIDTHS = (1280, 375)
LIMIT, MEMORY_LIMIT = 20.0, 512 << 20
LOOK_EVERY = 0.02


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: seconds of each push until the comment says that the preview is live, and until it has
    the pictures; seconds of two pictures by hand; the most memory of each browser's container, in bytes."""
    figures: dict[str, list[float]] = {
        name: [] for name in ("live", "pictured", "by hand", "memory", "floor")
    }
    with running_github() as github:
        repository = BareRepository(testbed.folder / "git" / "acme" / "shop.git")
        github.serve(testbed.folder / "git")
        with testbed.stopped_stager(**settings(github)) as stager:
            pull = PicturedPull(stager, github, repository)
            pull.open()
            pull.pictured()
            for number in range(-1, PUSHES):  # the first fills caches
                found = {**_pushed(pull, number), **_by_hand(pull)}
                for name, value in found.items() if number >= 0 else ():
                    figures[name].append(value)
    return {name: rounded(values, 3) for name, values in figures.items()}


def _pushed(pull: PicturedPull, number: int) -> dict[str, float]:
    with _peak(f"name={pull.stager.installation}-camera") as peak:
        begun = perf_counter()
        sha = pull.push(PAGE.replace("Fonts of our own", f"Push {number}"))[:7]
        _wait(lambda: _is_live(pull.comment(), sha))
        live = perf_counter() - begun
        _wait(lambda: _is_live(pull.comment(), sha) and "📷" in pull.comment())
        return {"live": live, "pictured": perf_counter() - begun, "memory": peak()}


def _is_live(comment: str, sha: str) -> bool:
    """Whether the comment says that this commit, and no older one, is served."""
    return f"Commit `{sha}`" in comment and "is live" in comment and "serving" not in comment


def _by_hand(pull: PicturedPull) -> dict[str, float]:
    """The same two pictures by Chromium's own option, in one container for each."""
    instance = pull.instances()[0]  # the newest
    name = f"{pull.stager.installation}-by-hand"
    with _peak(f"name={name}") as peak:
        begun = perf_counter()
        for width in WIDTHS:
            _photograph(name, instance, width)
        return {"by hand": perf_counter() - begun, "floor": peak()}


def _photograph(name: str, instance: str, width: int) -> None:
    address = '{{index .Config.Labels "stager.address"}}:{{index .Config.Labels "stager.port"}}'
    url = docker("inspect", "--format", address, instance).strip()
    confined = ("--user=65534:65534", "--tmpfs=/tmp", "--env=HOME=/tmp", "--security-opt=seccomp=unconfined")
    chromium = ("chromium", "--headless", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
    picture = (f"--window-size={width},900", "--screenshot=/tmp/picture.png", f"http://{url}/")
    docker(
        "run",
        "--rm",
        "--name",
        name,
        f"--network=container:{instance}",
        *confined,
        "--entrypoint=",
        BROWSER,
        *chromium,
        *picture,
    )


@contextlib.contextmanager
def _peak(mark: str) -> Iterator[Callable[[], float]]:
    """Watch the memory of the containers that Docker finds by this filter, for the duration of the block."""
    most, is_over = [0.0], threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            for container in docker("ps", "--quiet", "--no-trunc", f"--filter={mark}").split():
                _follow(container, most)
            time.sleep(LOOK_EVERY)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: most[0]
    finally:
        is_over.set()
        thread.join()


def _follow(container: str, most: list[float]) -> None:
    """Note the most memory that a container uses, until it has ended."""
    with contextlib.suppress(OSError, AssertionError, ValueError):
        usage = group_of(container) / VERSIONS[find_cgroups().version].usage
        while used := int(usage.read_text()):
            most[0] = max(most[0], used)
            time.sleep(LOOK_EVERY)


def _wait(look: Callable[[], bool]) -> None:
    until = perf_counter() + 120
    while not look():
        assert perf_counter() < until, "the comment doesn't come"
        time.sleep(LOOK_EVERY)


def lines(figures: Figures) -> list[Line]:
    """The time and the memory."""
    floor = median(figures["live"]) + median(figures["by hand"])
    ours, most = median(figures["pictured"]), max(figures["memory"])
    return [
        Line(
            what="From a push to the comment with two pictures",
            floor=seconds(floor),
            ours=f"{seconds(ours)}, {times(ours / floor)}",
            budget=f"at most {seconds(LIMIT)}",
            value=ours,
            limit=LIMIT,
        ),
        Line(
            what="Memory of the browser's container, at most",
            floor=f"{max(figures['floor']) / (1 << 20):.0f} MB",
            ours=f"{most / (1 << 20):.0f} MB",
            budget="less than 512 MB",
            value=most,
            limit=MEMORY_LIMIT,
        ),
    ]


def charts(figures: Figures) -> list[Chart]:
    """The medians."""
    bars = [
        ("without pictures", median(figures["live"])),
        ("and two pictures by hand", median(figures["live"]) + median(figures["by hand"])),
        ("Stager, with two pictures", median(figures["pictured"])),
    ]
    return [Chart("bench-pictures", "From a push to the pull request's comment", "s", bars)]


ABOUT = """\
A commit with another page is pushed to a pull request. Its preview is built, started and checked; the comment
says that it is live, and later has its pictures in two widths, beside those of the base branch. The page has
a clock, an animation and a font of its own. The floor is the time until the comment says live, in the same
push, and that of `docker run` of the same image, once for each width, with `chromium --headless
--screenshot`: it waits neither for fonts nor until the page is quiet, and reports no problems. The memory is
that of the container's control group, read every 20 ms, with the files that it has cached.
"""

ROW = Row("pictures", "Pictures of previews", ABOUT.strip(), measure, lines, charts)
