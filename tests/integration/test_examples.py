"""The example applications: each is built from a commit, as a preview is, and asked for what it is for."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from stager.domain.errors import Fault
from stager.domain.recipe import Recipe
from stager.ports.source import Origin
from stager.sources import GitSources
from tests.contracts.builders import BuildxUnderTest, an_order, buildx_under_test, docker
from tests.doubles.git import BareRepository

pytestmark = pytest.mark.docker

EXAMPLES = Path(__file__).parents[2] / "examples"
BUILT = (
    *("python-database", "static-site", "node-app", "websocket-chat"),
    *("guestbook-flask", "tasks-node"),  # in test_database_guide.py
)


class Example:
    """An example that runs.

    Attributes:
        url: where it answers.
        manifest: what its `.stager.yml` says.
    """

    def __init__(self, container: str, manifest: dict[str, Any]) -> None:
        self.container = container
        self.manifest = manifest
        address = docker(
            "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container
        )
        self.url = f"http://{address}:{manifest['port']}"

    async def until_it_answers(self, http: aiohttp.ClientSession) -> None:
        async with asyncio.timeout(30):
            while True:
                try:
                    async with http.get(self.url + self.manifest.get("health_path", "/")) as answer:
                        if answer.ok:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)

    def run_hooks(self, kind: str) -> None:
        for command in self.manifest["hooks"][kind]:
            docker("exec", self.container, *command.split())


def files_of(example: str) -> dict[str, bytes]:
    folder = EXAMPLES / example
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


async def image_of(buildx: BuildxUnderTest, folder: Path, files: dict[str, bytes]) -> str:
    """The image of a commit with these files: fetched by git, and built."""
    base = re.findall(r"^ARG BASE=(.*)$", files["Dockerfile"].decode(), re.MULTILINE)[0]
    if subprocess.run(["docker", "image", "inspect", base], capture_output=True, check=False).returncode:
        pytest.skip(f"there is no {base}: scripts/test makes it")
    repository = BareRepository(folder / "origin.git")
    sha = repository.commit(files, "refs/heads/main")
    async with GitSources(folder / "sources").checkout("1", Origin(str(repository.path)), sha) as tree:
        order = an_order(tree, timeout=120, recipe=Recipe())
        return await buildx.builder.build(order, lambda _: None)


@asynccontextmanager
async def running(name: str, folder: Path) -> AsyncIterator[tuple[Example, aiohttp.ClientSession]]:
    async with buildx_under_test(folder) as buildx:
        files = files_of(name)
        image = await image_of(buildx, folder, files)
        limits = ("--memory", "256m", "--pids-limit", "100", "--init", "--cap-drop", "ALL")
        container = docker("run", "--detach", "--label", "stager.test", *limits, image)
        manifest = yaml.safe_load(files[".stager.yml"])
        async with aiohttp.ClientSession() as http:
            example = Example(container, manifest)
            try:
                await example.until_it_answers(http)
                yield example, http
            finally:
                print(docker("logs", container))
                docker("rm", "--force", "--volumes", container)


async def page(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as answer:
        assert answer.status == 200
        return await answer.text()


def test_every_example_that_is_built_is_tested() -> None:
    assert {path.parent.name for path in EXAMPLES.glob("*/Dockerfile")} == set(BUILT)


@pytest.mark.parametrize("name", BUILT)
def test_no_example_needs_what_this_machine_alone_has(name: str) -> None:
    """A `BASE` from Docker Hub is named beside the one that is made here."""
    dockerfile, readme = ((EXAMPLES / name / file).read_text() for file in ("Dockerfile", "README.md"))
    [hub] = re.findall(r"--build-arg BASE=([\w.:-]+)", readme)

    assert f"{hub} from Docker Hub" in dockerfile
    assert dockerfile.count("FROM") == dockerfile.count("FROM ${BASE}")


async def test_the_database_is_seeded_and_written(tmp_path: Path) -> None:
    async with running("python-database", tmp_path) as (shelf, http):
        assert "The shelf is empty" in await page(http, shelf.url)

        shelf.run_hooks("after_launch")
        shelf.run_hooks("after_launch")
        seeded = await page(http, shelf.url)
        assert "5 books" in seeded
        assert seeded.count("The Summer Book") == 2  # once as the button's label

        async with http.post(f"{shelf.url}/books", data={"title": "<b>Momo</b>", "author": ""}) as answer:
            added = await answer.text()
        assert "&lt;b&gt;Momo" in added
        assert "<b>Momo" not in added
        [number] = re.findall(r'action="/read/(\d+)"(?=(?:(?!action=).)*Momo)', added, re.DOTALL)[:1]
        async with http.post(f"{shelf.url}/read/{number}") as answer:
            assert "1 of them read" in await answer.text()


async def test_the_static_site_is_served(tmp_path: Path) -> None:
    async with running("static-site", tmp_path) as (site, http):
        assert "Swimming Club" in await page(http, site.url)
        for link in ("style.css", "tides.html"):
            assert link in await page(http, site.url)
            assert await page(http, f"{site.url}/{link}")


async def test_the_node_application_answers(tmp_path: Path) -> None:
    async with running("node-app", tmp_path) as (palette, http):
        colours = json.loads(await page(http, f"{palette.url}/api/palette?word=sea"))["colours"]
        shown = await page(http, f"{palette.url}/?word=sea")

        assert len(colours) == 5
        assert all(colour in shown for colour in colours)


async def test_the_node_application_isnt_built_when_its_tests_fail(tmp_path: Path) -> None:
    files = files_of("node-app")
    source = files["src/palette.js"]
    files["src/palette.js"] = source.replace(b"[0, 1, 2, 3, 4]", b"[0, 1, 2]")
    async with buildx_under_test(tmp_path) as buildx:
        with pytest.raises(Fault) as caught:
            await image_of(buildx, tmp_path, files)

    assert "of stage test: RUN npm test (exit code 1)" in caught.value.message
    assert "five colours" in caught.value.detail


async def test_every_client_receives_each_message(tmp_path: Path) -> None:
    async with running("websocket-chat", tmp_path) as (chat, http):
        assert "/socket" in await page(http, chat.url)
        async with http.ws_connect(f"{chat.url}/socket") as ann:
            assert await ann.receive_json() == {"people": 1}
            async with http.ws_connect(f"{chat.url}/socket") as bob:
                assert await bob.receive_json() == await ann.receive_json() == {"people": 2}
                await ann.send_str("not JSON")
                await ann.ping()
                await ann.send_json({"name": "Ann", "text": "Tea? " + "🍵" * 200})
                heard = await bob.receive_json()
                assert heard["text"].startswith("Tea? 🍵")
                assert await ann.receive_json() == heard
            assert await ann.receive_json() == {"people": 1}
        async with http.ws_connect(f"{chat.url}/socket") as later:
            assert (await later.receive_json())["name"] == "Ann"
            await later.receive_json()
            await later.send_str("x" * 10_000)
            closed = await later.receive()
        assert closed.data == 1009  # too long
