"""The database of the benchmarks, 1 GB, and twenty clones of it in a pool of 3 GB."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.rows.clones import GB, SPACE_LIMIT, Databases, place_for
from stager.ports.clock import RandomIds
from tests.contracts.data import DockerDataUnderTest
from tests.contracts.engines import docker_under_test
from tests.integration.own_pool import why_not

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not os.environ.get("STAGER_SOAK"), reason="takes many minutes: scripts/soak runs it"),
]


@pytest.mark.skipif(bool(why_not()), reason=why_not())
async def test_twenty_clones_fit(tmp_path: Path) -> None:
    async with (
        place_for("loop", tmp_path, 3 * GB) as place,
        docker_under_test(RandomIds().new()) as engine,
    ):
        databases = Databases(DockerDataUnderTest(engine, tmp_path / "snapshots", place.helper), place)
        await databases.prepare()
        space = await databases.space()
    assert space["base"] > 1000
    assert space["clone"] < SPACE_LIMIT
