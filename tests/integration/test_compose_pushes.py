"""A Compose file of a repository, pushed again and again: what changed is replaced, everything else stays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.images import base_image
from tests.integration.load import Load
from tests.integration.stager import StagerUnderTest, until
from tests.integration.test_services import by_service
from tests.local_forge.workshop import Clone

DOCKERFILE = """\
FROM {base}
COPY index.html /site/
CMD ["httpd", "-f", "-p", "3000", "-h", "/site"]
"""
COMPOSE = """\
services:
  web:
    build: web
    ports: ["8080:3000"]
    depends_on:
      api: {{condition: service_started}}
      migrate: {{condition: service_completed_successfully}}
  api:
    build: api
    ports: ["8081:3000"]
  migrate:
    image: {base}
    command: wget -q -O - http://store:3000/boots
    depends_on: {{store: {{condition: service_healthy}}}}
  store:
    image: {base}
    command: sh -c "echo booted >> /data/boots && exec httpd -f -p 3000 -h /data"
    volumes: [data:/data]
    healthcheck: {{test: wget -q -O - http://127.0.0.1:3000/boots, interval: 5s}}
volumes:
  data:
"""


class Shop:
    """A clone of the repository.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path, bare: Path) -> None:
        base = base_image("static")
        self._clone = Clone(folder, bare)
        for service in ("web", "api"):
            self.write(f"{service}/Dockerfile", DOCKERFILE.format(base=base))
            self.write(f"{service}/index.html", f"{service} 1")
        self.write(".stager.yml", "web: web\n")
        self.write("compose.yaml", COMPOSE.format(base=base))
        self._clone.push("main")
        self._clone.git("checkout", "--quiet", "-b", "change")

    def write(self, path: str, text: str) -> None:
        file = self._clone.folder / path
        file.parent.mkdir(exist_ok=True)
        self._clone.commit(path, text)

    def push(self) -> None:
        self._clone.push("--force", "change")


@pytest.fixture
def stager(make_stager: MakeStager, tmp_path: Path) -> Iterator[StagerUnderTest]:
    shop = {"compose": True, "build": ".", "image": None, "port": None, "command": None, "memory": "512m"}
    stager = make_stager(local_forge=str(tmp_path / "git"), images={"shop": shop})
    yield stager
    stager.empty()


async def test_a_push_replaces_what_changed(stager: StagerUnderTest, tmp_path: Path) -> None:
    shop = await asyncio.to_thread(Shop, tmp_path / "clone", tmp_path / "git" / "shop.git")
    shop.push()
    until(lambda: stager.get("change").text == "web 1", "it is live", 60)
    first = by_service(stager)
    assert first.keys() == {"web", "api", "store"}
    assert stager.get("api--change").text == "api 1"

    async with Load(stager.url, stager.host("change"), ("/",), posts=False) as load:
        shop.write("web/index.html", "web 2")
        await asyncio.to_thread(shop.push)
        await load.until_answered("web 2")
        shop.write(
            "compose.yaml", COMPOSE.format(base=base_image("static")).replace("/boots\n", "/none\n", 1)
        )
        await asyncio.to_thread(shop.push)
        await asyncio.to_thread(until, lambda: _failed(stager), "the migration fails", 60)
    assert load.failures == []

    until(lambda: len(stager.containers()) == 4, "three services and the second revision's job are left", 60)
    second = by_service(stager)
    assert (second["api"], second["store"]) == (first["api"], first["store"])
    assert second["web"] != first["web"]
    assert stager.get("change").text == "web 2"
    assert len(stager.volumes()) == 1


def _failed(stager: StagerUnderTest) -> bool:
    return "migrate" in stager.environment("change")["message"]
