"""Previews with volumes in a data pool: their clones, and what happens when the pool's mount is gone."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stager.engines.docker.network.pool import tag_of
from tests.integration.conftest import MakeStager
from tests.integration.own_pool import OwnPool, dockerd, own_pool, why_not
from tests.integration.stager import StagerUnderTest, docker, until
from tests.integration.test_snapshots import application, database, fill, saved, sql, take

pytestmark = pytest.mark.docker

GB = 1 << 30
COUNT = "SELECT count(*) FROM people"


@pytest.fixture
def stager(make_stager: MakeStager) -> StagerUnderTest:
    """A Stager that isn't started."""
    if reason := why_not("iptables"):
        pytest.skip(reason)
    return make_stager(start=False, images={"shop": application()}, helper="required")


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
