"""A server on a Unix socket in the place of Docker, for what can't be tried with the machine's own engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web


@asynccontextmanager
async def stub_docker(path: Path, routes: Iterable[web.RouteDef]) -> AsyncIterator[None]:
    """Serve these routes, and the version that a client asks for first, for as long as the block lasts."""
    app = web.Application()
    app.router.add_routes([*routes, web.get("/{path:.*version}", _version)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.UnixSite(runner, path).start()
        yield
    finally:
        await runner.cleanup()


async def _version(_: web.Request) -> web.Response:
    return web.json_response({"ApiVersion": "1.41", "Version": "20.10"})
