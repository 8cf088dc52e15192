"""Has the doubles that are web servers answer on this machine."""

from __future__ import annotations

from aiohttp import web


async def listen(runner: web.AppRunner) -> str:
    """Start it, on a port of the system's choice. Returns its URL."""
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"
