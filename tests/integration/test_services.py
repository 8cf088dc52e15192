"""A preview of three services on real Docker: two pushes, a broken one, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.load import Load
from tests.integration.service_cycles import SERVICES
from tests.integration.stager import StagerUnderTest, docker, until

WITHOUT_JOB = {name: SERVICES[name] for name in ("admin", "store")}


@pytest.fixture
def stager(make_stager: MakeStager) -> Iterator[StagerUnderTest]:
    stager = make_stager(images={"shop": {"services": WITHOUT_JOB, "memory": "384m"}})
    yield stager
    stager.empty()


def by_service(stager: StagerUnderTest) -> dict[str, str]:
    """The running containers' ids by the name of the service."""
    found = {c: stager.inspect(c) for c in stager.containers()}
    return {d["Config"]["Labels"]["stager.service"]: c for c, d in found.items() if d["State"]["Running"]}


async def test_two_pushes_a_broken_one_and_the_end(stager: StagerUnderTest) -> None:
    await asyncio.to_thread(stager.launched, VERSION="0")
    first = by_service(stager)
    assert first.keys() == {"web", "admin", "store"}
    assert stager.get("test").text == "test 0"
    assert stager.get("admin--test").status_code == 200
    docker("exec", first["store"], "sh", "-c", "echo kept > /data/note")

    hosts = [stager.host(name) for name in ("test", "admin--test")]
    async with Load(stager.url, hosts[0]) as web, Load(stager.url, hosts[1]) as admin:
        for version in ("1", "2"):
            await asyncio.to_thread(stager.launched, VERSION=version)
        await web.until_answered("test 2")
        answer = await asyncio.to_thread(stager.launch, VERSION="3", EXIT="1")
        assert "exited with exit code 1" in answer.text
    assert web.failures == admin.failures == []

    until(lambda: len(stager.containers()) == 3, "only three containers are left")
    second = by_service(stager)
    assert (second["store"], second["admin"]) == (first["store"], first["admin"])
    assert second["web"] != first["web"]
    assert stager.get("test").text == "test 2"
    reached = docker(
        "exec", second["web"], "python3", "-c",
        "import urllib.request as r; print(r.urlopen('http://store:8000/note').read().decode())",
    )  # fmt: skip
    assert reached.strip() == "kept"
    assert len(stager.volumes()) == 1

    await asyncio.to_thread(stager.kill, "test")
    until(lambda: not (stager.containers() or stager.networks() or stager.volumes()), "nothing is left", 90)
    assert stager.get("admin--test").status_code in {404, 410, 503}
