"""The limit of the build cache, against an engine that only records what it is asked for.

The machine's own cache is shared by all tests that build, so none of them may prune it.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from aiohttp import web

from stager.engines.docker import BuildxBuilder, connect
from tests.contracts.stub_docker import stub_docker


class RecordingDocker:
    """An engine without images and containers.

    Attributes:
        prunes: the parameters of each request to prune the build cache.
    """

    def __init__(self) -> None:
        self.prunes: list[dict[str, str]] = []

    def listening(self, path: Path) -> AbstractAsyncContextManager[None]:
        prefix = "/{version:v[0-9.]+}"
        return stub_docker(
            path,
            [
                web.get(prefix + "/{things:images|containers}/json", self._nothing),
                web.post(prefix + "/build/prune", self._prune),
                web.get(prefix + "/system/df", self._usage),
            ],
        )

    async def _nothing(self, _: web.Request) -> web.Response:
        return web.json_response([])

    async def _usage(self, _: web.Request) -> web.Response:
        records = [{"Size": 3 << 30}, {"Size": 2 << 30, "InUse": True}, {"Size": 9 << 30, "Shared": True}]
        return web.json_response({"BuildCache": records, "Images": None})

    async def _prune(self, request: web.Request) -> web.Response:
        self.prunes.append(dict(request.query))
        return web.json_response({"CachesDeleted": ["a", "b"], "SpaceReclaimed": 2048})


@pytest.mark.parametrize(
    ("limit", "prunes"), [(None, []), (20 << 30, [{"keep-storage": str(20 << 30), "all": "1"}])]
)
async def test_a_sweep_prunes_the_cache_to_its_limit(
    tmp_path: Path, limit: int | None, prunes: list[dict[str, str]]
) -> None:
    engine, path = RecordingDocker(), tmp_path / "docker.sock"
    address = f"unix://{path}"
    async with engine.listening(path), connect(address) as docker:
        builder = BuildxBuilder(docker, address, "test-cache", cache_limit=limit)
        assert await builder.sweep([]) == 0
    assert engine.prunes == prunes


@pytest.mark.parametrize(("limit", "excess"), [(None, []), (20 << 30, []), (4 << 30, [1 << 30])])
async def test_what_a_sweep_would_prune(tmp_path: Path, limit: int | None, excess: list[int]) -> None:
    """Records that an image shares aren't freed."""
    engine, path = RecordingDocker(), tmp_path / "docker.sock"
    address = f"unix://{path}"
    async with engine.listening(path), connect(address) as docker:
        builder = BuildxBuilder(docker, address, "test-cache", cache_limit=limit)
        found = await builder.leftovers([])
    assert [each.size for each in found] == excess
    assert all("`builds.cache_size` is 4" in each.why for each in found)
    assert engine.prunes == []
