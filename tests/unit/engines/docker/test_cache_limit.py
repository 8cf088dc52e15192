"""The limit of the build cache, against an engine that only records what it is asked for.

The machine's own cache is shared by all tests that build, so none of them may prune it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from stager.engines.docker import BuildxBuilder, connect


class RecordingDocker:
    """An engine without images and containers.

    Attributes:
        prunes: the parameters of each request to prune the build cache.
    """

    def __init__(self) -> None:
        self.prunes: list[dict[str, str]] = []

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/{version:v[0-9.]+}/{things:images|containers}/json", self._nothing)
        app.router.add_post("/{version:v[0-9.]+}/build/prune", self._prune)
        app.router.add_get("/{path:.*version}", self._version)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.UnixSite(runner, path).start()
            yield
        finally:
            await runner.cleanup()

    async def _nothing(self, _: web.Request) -> web.Response:
        return web.json_response([])

    async def _prune(self, request: web.Request) -> web.Response:
        self.prunes.append(dict(request.query))
        return web.json_response({"CachesDeleted": ["a", "b"], "SpaceReclaimed": 2048})

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"ApiVersion": "1.41", "Version": "20.10"})


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
