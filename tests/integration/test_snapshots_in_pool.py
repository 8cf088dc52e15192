"""Previews with volumes in a data pool: their clones, and what happens when the pool's mount is gone."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stager.engines.docker.network.pool import tag_of
from tests.integration.conftest import MakeStager
from tests.integration.own_pool import OwnPool, dockerd, own_pool, why_not
from tests.integration.stager import StagerUnderTest, docker, until
from tests.integration.test_snapshots import (
    MASK,
    application,
    begin,
    database,
    ended,
    fill,
    saved,
    sql,
    take,
)

pytestmark = pytest.mark.docker

GB = 1 << 30
COUNT = "SELECT count(*) FROM people"


@pytest.fixture
def stager(make_stager: MakeStager) -> StagerUnderTest:
    """A Stager that isn't started."""
    if reason := why_not("iptables"):
        pytest.skip(reason)
    shop = application(data={"mask": {"db": MASK}, "durability": "relaxed"})
    return make_stager(start=False, images={"shop": shop}, helper="required")


@pytest.fixture
async def pool(stager: StagerUnderTest) -> AsyncIterator[OwnPool]:
    """Its helper, with a pool where the machine's Docker sees it."""
    with own_pool(f"--tag={tag_of(stager.installation)}", process=dockerd()) as pool:
        stager.more["helper_socket"] = str(pool.socket)
        try:
            await pool.call("init", bytes=2 * GB, reserve=False)
            stager.start()
            yield pool
        finally:
            stager.empty()


def devices(stager: StagerUnderTest) -> list[Path]:
    """Where the volumes are."""
    form = '{{index .Options "device"}}'
    return [Path(docker("volume", "inspect", "--format", form, name)) for name in stager.volumes()]


async def test_clones_and_a_restart_of_the_machine(stager: StagerUnderTest, pool: OwnPool) -> None:
    snapshot = take(stager, preview=fill(stager))
    assert not saved(stager) - {"pool-used"} - {f"{snapshot['id']}.json"}, "no archive was written"
    stager.launched("feature", VERSION="1")
    assert sql(database(stager, "feature"), COUNT) == "1000"
    assert sql(database(stager, "feature"), "SHOW fsync") == "off"
    sql(database(stager, "feature"), "DELETE FROM people WHERE id > 10")
    assert sql(database(stager, "main"), COUNT) == "1000"
    assert all(path.is_relative_to(pool.pool) and pool.path(path).is_dir() for path in devices(stager))

    # Everything ends, as at a restart of the machine; then only Docker and Stager are there.
    stager.kill9()
    docker("stop", "--time", "20", *stager.containers())
    pool.stop()
    pool.unmount()
    failed = subprocess.run(
        ["docker", "start", database_of(stager, "feature")], capture_output=True, text=True, check=False
    )
    assert failed.returncode, "a database doesn't start without its data"
    assert list(pool.path(pool.pool).iterdir()) == [], "and nothing is created below the mount"

    pool.start()
    stager.start()
    stager.wait_for("feature", "live")
    until(lambda: sql(database(stager, "feature"), COUNT) == "10", "it has its own rows again")
    assert sql(database(stager, "main"), COUNT) == "1000"


def database_of(stager: StagerUnderTest, name: str) -> str:
    """The container of a preview's database, whether it runs or not."""
    labels = [f"--filter=label=stager.{key}={value}" for key, value in (("name", name), ("service", "db"))]
    installation = f"--filter=label=stager.installation={stager.installation}"
    [found] = docker("ps", "--all", "--quiet", installation, *labels).split()
    return found


@pytest.mark.parametrize("moment", ["Copying", "Masking"])
async def test_killed_while_a_snapshot_is_made(stager: StagerUnderTest, pool: OwnPool, moment: str) -> None:
    first = fill(stager)
    snapshot = begin(stager, preview=first)

    def look() -> bool:
        found = stager.api(f"/snapshots/{snapshot['id']}")
        return str(found["progress"]).startswith(moment) or found["state"] != "making"

    until(look, f"it is {moment}")
    stager.kill9()
    stager.start()
    found = ended(stager, snapshot)
    assert found["state"] == "ready" or found["reason"] == "snapshot-interrupted", found
    until(lambda: len(stager.containers()) == 2, "no workbench is left")
    stager.wait_for("main", "live")
    assert sql(database(stager, "main"), COUNT) == "1000"
    await only(stager, pool, {snapshot["id"]} if found["state"] == "ready" else set())

    again = take(stager, preview=first)
    stager.launched("feature", VERSION="1")
    emails = "SELECT count(*) FROM people WHERE email LIKE '%customer%'"
    assert sql(database(stager, "feature"), emails) == "0"
    assert again["is_masked"]


async def test_killed_while_clones_are_made_reset_and_removed(stager: StagerUnderTest, pool: OwnPool) -> None:
    snapshot = take(stager, preview=fill(stager))
    for number, delay in enumerate((0.0, 0.3, 1.0)):
        stager.launch("feature", VERSION=str(number), wait="0")
        time.sleep(delay)
        stager.kill9()
        stager.start()
        shows(stager, f"feature {number}")
        assert sql(database(stager, "feature"), COUNT) == "1000"

    sql(database(stager, "feature"), "DELETE FROM people")
    environment = stager.environment("feature")["id"]
    stager.api(f"/environments/{environment}/reset", "POST")
    stager.kill9()
    stager.start()
    until(lambda: sql(database(stager, "feature"), COUNT) == "1000", "it is reset")
    until(lambda: len(stager.containers()) == 4, "the old generations are removed")

    stager.post("/kill", image_name="shop", container_name="feature", wait="0")
    stager.api(f"/snapshots/{snapshot['id']}", "DELETE")
    stager.kill9()
    stager.start()
    until(lambda: len(stager.containers()) == 2, "the preview is removed")
    until(lambda: len(stager.volumes()) == 1, "and its volume")
    until(lambda: not stager.api("/snapshots"), "and the snapshot")
    assert sql(database(stager, "main"), COUNT) == "1000"
    await only(stager, pool, set())


def shows(stager: StagerUnderTest, text: str) -> None:
    """Wait until the preview shows this."""
    until(lambda: stager.get("feature").text == text, "it is live")


async def only(stager: StagerUnderTest, pool: OwnPool, snapshots: set[str]) -> None:
    """The pool has the volumes that Docker has and these snapshots, and nothing incomplete."""

    async def look() -> bool:
        listed = await pool.call("list", installation=stager.installation)
        kept = (
            {each["volume"] for each in listed["volumes"]},
            {each["snapshot"] for each in listed["snapshots"]},
        )
        return kept == (set(stager.volumes()), snapshots)

    async with asyncio.timeout(90):
        while not await look():
            await asyncio.sleep(0.2)
    names = [path.name for path in pool.path(pool.pool).rglob("*")]
    assert [name for name in names if name.startswith((".new-", ".gone-", ".links-"))] == []
