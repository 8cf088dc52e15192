"""Roll backs on real Docker: an image that is kept, and a stack of a Compose file."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.images import base_image
from tests.integration.load import Load
from tests.integration.person import Person
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, docker, until
from tests.integration.test_compose_pushes import COMPOSE, Shop
from tests.integration.test_services import by_service
from tests.local_forge.workshop import Clone
from tests.unit.docs.written import page_sample

DOCKERFILE = """\
FROM {base}
COPY index.html /site/
EXPOSE 3000
CMD ["httpd", "-f", "-p", "3000", "-h", "/site"]
"""
BRANCH = "my-branch"


class Repository:
    """A clone whose commits each have another page."""

    def __init__(self, folder: Path, bare: Path) -> None:
        self._clone = Clone(folder, bare)
        self._clone.commit("Dockerfile", DOCKERFILE.format(base=base_image("static")))
        self._clone.push("main")
        self._clone.git("checkout", "--quiet", "-b", BRANCH)

    def push(self, text: str) -> str:
        sha = self._clone.commit("index.html", text)
        self._clone.push("--force", BRANCH)
        return sha


def builds(stager: StagerUnderTest) -> int:
    return stager.log.read_text().count('"build_started"')


def shows(stager: StagerUnderTest, text: str) -> None:
    until(lambda: stager.get(BRANCH).text == text, f"it shows {text}", 60)


@pytest.fixture
def person(tmp_path: Path) -> Person:
    (tmp_path / "person").mkdir()
    return Person(tmp_path / "person", "")


def run(person: Person, sample: str) -> str:
    """Run a sample's `stager` commands; what they print, on either stream."""
    said = ""
    for line in sample.splitlines():
        program, *words = shlex.split(line)
        assert program == "stager"
        done = person.run(*words)
        assert done.returncode == 0, done.stderr
        said += done.stdout + done.stderr
    return said


async def test_a_commit_that_was_live_serves_again(
    make_stager: MakeStager, tmp_path: Path, person: Person
) -> None:
    stager = make_stager(local_forge=str(tmp_path / "git"), images={"shop": {"build": "."}})
    repository = await asyncio.to_thread(Repository, tmp_path / "clone", tmp_path / "git" / "shop.git")
    person.url = stager.url
    await asyncio.to_thread(person.sign_in, USER, PASSWORD)
    shas = []
    for text in ("one", "two", "three"):
        shas.append(await asyncio.to_thread(repository.push, text))
        await asyncio.to_thread(shows, stager, text)
    before = builds(stager)

    async with Load(stager.url, stager.host(BRANCH), ("/",), posts=False) as load:
        said = await asyncio.to_thread(run, person, page_sample("roll-back.md", "stager rollback shop"))
        await load.until_answered("two")
    assert load.failures == []
    assert f"Rolling back to commit {shas[1][:7]}." in said
    rolled_back = stager.environment(BRANCH)
    assert (rolled_back["sha"], rolled_back["state"]) == (shas[1], "live")
    assert rolled_back["summary"].endswith(f"It was rolled back from {shas[2][:7]}.")

    await asyncio.to_thread(run, person, page_sample("roll-back.md", "stager show shop"))
    assert await asyncio.to_thread(lambda: stager.get(BRANCH).text) == "one", "that is deployment 1"
    assert builds(stager) == before

    await asyncio.to_thread(repository.push, "four")
    await asyncio.to_thread(shows, stager, "four")


async def test_the_stack_of_that_revision_with_the_data_of_now(
    make_stager: MakeStager, tmp_path: Path
) -> None:
    shop = {"compose": True, "build": ".", "image": None, "port": None, "command": None, "memory": "512m"}
    stager = make_stager(local_forge=str(tmp_path / "git"), images={"shop": shop})
    clone = await asyncio.to_thread(Shop, tmp_path / "clone", tmp_path / "git" / "shop.git")
    await asyncio.to_thread(clone.push)
    until(lambda: stager.get("change").text == "web 1", "it is live", 60)

    compose = COMPOSE.format(base=base_image("static"))
    without_api = compose.replace("      api: {condition: service_started}\n", "").replace(
        '  api:\n    build: api\n    ports: ["8081:3000"]\n', ""
    )
    assert "build: api" not in without_api
    clone.write("compose.yaml", without_api)
    clone.write("web/index.html", "web 2")
    await asyncio.to_thread(clone.push)
    until(lambda: stager.get("change").text == "web 2", "the push is shown", 60)
    until(lambda: len(stager.containers()) == 3, "the service is gone", 60)
    before = builds(stager)
    entered = "echo by the second revision > /data/entered"
    docker("exec", by_service(stager)["store"], "sh", "-c", entered)

    id_ = stager.environment("change")["id"]
    answer = stager.api(f"/environments/{id_}/rollback", "POST", json={})
    assert answer["data"] == (
        'Data in the volume "data" stays as the newer revision left it; migrations aren\'t undone.'
    )
    until(lambda: stager.get("change").text == "web 1", "the first revision serves", 60)
    assert stager.get("api--change").text == "api 1"
    until(lambda: len(stager.containers()) == 4, "three services and the job are left", 60)
    assert docker("exec", by_service(stager)["store"], "cat", "/data/entered") == "by the second revision"
    assert builds(stager) == before
