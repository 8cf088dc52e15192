"""What Docker says seldom, and never when one waits for it: answered by a Docker of a few lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from stager.domain.errors import Fault, Retry
from stager.engines.docker import DockerInstances, connect

STUCK = "task 72184ce4979202445ff4e1bb8a2144a465fa04d0bec2e94d80dbc80053fcbc6d: already exists"
"""The words of Docker 20.10 after it was killed while it started a container."""

RLIMIT = (
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container "
    "process: error during container init: error setting rlimits for ready process: error setting rlimit "
    "type 7: operation not permitted: unknown"
)
"""The words of Docker 20.10 that runs with a smaller limit itself."""


class FewLines:
    """A Docker that starts nothing, and has one container until it is removed.

    Attributes:
        answer: what it says to a start.
        removed: whether the container is gone.
    """

    def __init__(self) -> None:
        self.answer = ""
        self.removed = False

    async def handle(self, request: web.Request) -> web.Response:
        if request.path.endswith("/start"):
            return web.json_response({"message": self.answer}, status=500)
        if request.method == "DELETE":
            self.removed = True
        if request.path.endswith("/version"):
            return web.json_response({"ApiVersion": "1.41"})
        return web.json_response({"Config": {"Image": "i1"}})


@pytest.fixture
async def docker() -> FewLines:
    return FewLines()


@pytest.fixture
async def instances(docker: FewLines, tmp_path: Path) -> AsyncIterator[DockerInstances]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", docker.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "docker.sock")).start()
    client = connect(f"unix://{tmp_path}/docker.sock")
    yield DockerInstances(client, "test-me", None)  # type: ignore[arg-type]
    await client.close()
    await runner.cleanup()


async def test_a_container_that_docker_lost_count_of_makes_room_for_another(
    docker: FewLines, instances: DockerInstances
) -> None:
    docker.answer = STUCK
    with pytest.raises(Retry, match="created again") as caught:
        await instances.start("c1")
    assert caught.value.reason == "instance-stuck"
    assert docker.removed


async def test_an_engine_with_fewer_open_files_than_the_limit_gets_none(
    docker: FewLines, instances: DockerInstances
) -> None:
    docker.answer = RLIMIT
    with pytest.raises(Retry, match="without that limit") as caught:
        await instances.start("c1")
    assert (caught.value.reason, docker.removed) == ("limit-not-raised", True)

    docker.removed = False
    with pytest.raises(Fault) as again:
        await instances.start("c1")
    assert (again.value.reason, docker.removed) == ("start-failed", False), "now it is the administrator's"


async def test_no_other_trouble_of_docker_s_costs_a_container(
    docker: FewLines, instances: DockerInstances
) -> None:
    docker.answer = "failed to create endpoint c1 on network n1: device or resource busy"
    with pytest.raises(Retry) as caught:
        await instances.start("c1")
    assert caught.value.reason == "engine-error"
    assert not docker.removed
