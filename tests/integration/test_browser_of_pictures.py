"""The confined browser itself: the same page gives the same picture, and a hostile page is bounded."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from stager.domain.pictures import View
from stager.engines.docker import connect
from stager.engines.docker.pictures import DockerPhotographer
from tests.integration.stager import docker, until
from tests.integration.test_pictures import browser as browser  # noqa: PLC0414 (a fixture)

HOST = "shop.example.test"
MOVING = """<!doctype html>
<style>
  @font-face { font-family: Own; src: url(font.ttf) }
  h1 { font-family: Own, serif }
  @keyframes move { from { left: 0 } to { left: 300px } }
  #box { position: absolute; animation: move 1s infinite }
</style>
<h1 id="clock"></h1><div id="box">moving</div><p id="frame"></p><p id="dice"></p>
<script>
  setInterval(() => { clock.textContent = new Date().toISOString() + performance.now() }, 10);
  dice.textContent = Math.random();
  const draw = (now) => { frame.textContent = now; requestAnimationFrame(draw) };
  requestAnimationFrame(draw);
  console.error("a mistake");
</script>
"""
ENDLESS = "<!doctype html><h1>endless</h1><script>while (true) {}</script>"
PAGES = {"moving.html": MOVING, "endless.html": ENDLESS, "font.ttf": "no font"}


@pytest.fixture
def site(tmp_path: Path, app_image: str) -> Iterator[str]:
    """A container that serves the pages, with the labels that the photographer reads."""
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text)
    tmp_path.chmod(0o755)
    labels = ("stager.test=1", "stager.address=127.0.0.1", "stager.port=8000")
    marks = [f"--label={label}" for label in labels]
    serve = ("python3", "-m", "http.server", "8000", "--directory", "/site")
    mount = f"--volume={tmp_path}:/site:ro"
    container = docker("run", "--detach", *marks, mount, "stager-base/python:1", *serve).strip()
    listens = (
        "exec",
        container,
        "python3",
        "-c",
        "import socket; socket.create_connection(('127.0.0.1', 8000))",
    )
    until(lambda: _succeeds(*listens), "the site listens")
    yield container
    docker("rm", "--force", "--volumes", container)


@pytest.fixture
async def photographer(browser: str) -> AsyncIterator[DockerPhotographer]:
    engine = connect("unix:///var/run/docker.sock")
    yield DockerPhotographer(engine, f"test-{secrets.token_hex(4)}", browser)
    await engine.close()


def _succeeds(*command: str) -> bool:
    try:
        docker(*command)
    except Exception:
        return False
    return True


async def test_a_moving_page_gives_the_same_picture(photographer: DockerPhotographer, site: str) -> None:
    shots = [(await photographer.take(site, HOST, [View("/moving.html", 800)]))[0] for _ in range(5)]
    assert all(shot.png and "a mistake" in shot.problems for shot in shots)
    assert [await photographer.compare(shots[0].png, shot.png) for shot in shots] == [0.0] * 5


async def test_an_endless_page_costs_no_other_its_picture(
    photographer: DockerPhotographer, site: str
) -> None:
    endless, moving = await photographer.take(
        site, HOST, [View("/endless.html", 800), View("/moving.html", 800)]
    )
    assert not endless.png
    assert endless.failed
    assert moving.png
