"""Runs a server in the process of `stager up`. The import takes most of a second of processor time, so
`session` imports it in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from stager.assembly.server import Embedding, serve, tidy
from stager.cli import log_output
from stager.cli.up.local_previews import LocalPreviews
from stager.domain.errors import Fault
from stager.settings.loading.loader import Loaded
from stager.state import StateDirectory


@asynccontextmanager
async def serving(
    loaded: Loaded, state: StateDirectory, application: str
) -> AsyncIterator[tuple[LocalPreviews, asyncio.Event]]:
    """Run a server; yields the application's previews, and the event to set when the first one is live or has
    failed."""
    log_output.configure("json", state.log)
    stopped, embedding = asyncio.Event(), Embedding()
    server = asyncio.create_task(serve(loaded, state, stopped, embedding=embedding))
    try:
        started: tuple[asyncio.Future[Any], ...] = (server, embedding.control_plane)
        await asyncio.wait(started, return_when=asyncio.FIRST_COMPLETED)
        if not embedding.control_plane.done():
            await server  # raises its error
            raise Fault("The server stopped during start-up.", reason="server-ended")
        yield LocalPreviews(embedding.control_plane.result(), application), embedding.is_settled
    finally:
        stopped.set()
        await asyncio.wait([server])
    await server  # raises its error
    await tidy(loaded.settings, state)
