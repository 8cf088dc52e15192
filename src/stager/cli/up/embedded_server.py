"""Runs a server in the process of `stager up`. The import takes most of a second of processor time, so
`session` imports it in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from stager.assembly.server import Embedding, serve, tidy
from stager.cli import log_output
from stager.cli.up.local_previews import LocalPreviews
from stager.domain.errors import Fault
from stager.settings.loading.loader import load
from stager.state import StateDirectory


@dataclass(frozen=True, slots=True)
class Server:
    """A server to run.

    Args:
        state: its folder, which is locked.
        environ: what the configuration refers to.
    """

    state: StateDirectory
    configuration: Mapping[str, Any] = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)


@asynccontextmanager
async def serving(
    server: Server, application: str, commit: str
) -> AsyncIterator[tuple[LocalPreviews, asyncio.Event]]:
    """Run a server; yields the application's previews, and the event to set when the first one is live or has
    failed.

    Args:
        commit: the commit in the application's repository.

    Raises:
        ConfigurationError: the configuration is invalid.
        StagerError: the server can't run.
    """
    state, path = server.state, server.state.path / "config.yml"
    path.write_text(yaml.safe_dump(dict(server.configuration)))
    loaded = load(path, environ=server.environ)
    log_output.configure("json", state.log)
    stopped, embedding = asyncio.Event(), Embedding()
    running = asyncio.create_task(serve(loaded, state, stopped, embedding=embedding))
    try:
        started: tuple[asyncio.Future[Any], ...] = (running, embedding.control_plane)
        await asyncio.wait(started, return_when=asyncio.FIRST_COMPLETED)
        if not embedding.control_plane.done():
            await running  # raises its error
            raise Fault("The server stopped during start-up.", reason="server-ended")
        previews = LocalPreviews(embedding.control_plane.result(), application, commit)
        yield previews, embedding.is_settled
    finally:
        stopped.set()
        await asyncio.wait([running])
    await running  # raises its error
    await tidy(loaded.settings, state)
