"""What only Docker can do to us."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stager.domain.errors import Retry
from stager.engines.docker import DockerImages, connect
from tests.contracts.engines import IMAGE, birth, docker_under_test


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def committed() -> Iterator[str]:
    """A name for an image."""
    name = "stager-test/committed:1"
    yield name
    subprocess.run(["docker", "rmi", "--force", name], capture_output=True, check=False)


@pytest.mark.docker
@pytest.mark.requirement("R30")
async def test_what_people_run_of_an_image_committed_from_ours_isnt_ours(committed: str) -> None:
    """Such an image hands on the labels of the container that it was made from."""
    async with docker_under_test() as engine:
        ours = await engine.instances.create(await engine.spec("runs", birth()))
        await engine.instances.start(ours.id)
        docker("commit", ours.id, committed)
        theirs = docker("run", "--detach", committed)
        try:
            assert [i.id for i in await engine.instances.find()] == [ours.id]
            assert [i.id for i in await engine.instances.find("e1")] == [ours.id]
            assert [i.id for i, _ in await engine.instances.births()] == [ours.id]
        finally:
            docker("rm", "--force", theirs)


@pytest.mark.docker
async def test_an_instance_whose_log_nobody_keeps_can_be_removed() -> None:
    async with docker_under_test() as engine:
        spec = await engine.spec("runs", birth())
        silent = {"HostConfig": {"LogConfig": {"Type": "none", "Config": {}}}}
        made = await engine.instances.create(replace(spec, parameters=silent))
        await engine.instances.start(made.id)

        assert await engine.instances.logs(made.id, 10) == ""


async def test_an_image_isnt_missing_because_docker_is_away(tmp_path: Path) -> None:
    away = connect(f"unix://{tmp_path}/docker.sock")
    try:
        with pytest.raises(Retry):
            await DockerImages(away).resolve(IMAGE)
    finally:
        await away.close()
