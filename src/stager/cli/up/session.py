"""Runs a server in the foreground with a temporary Git repository, into which the folder is committed when a
file has changed. The preview is built, checked and replaced like any other.

The start is divided between two processors: after the imports that both need, a forked process decides what
is built and commits the folder, while this one starts the front and imports the rest of the server.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stager.cli.up.fork import Fork, forked
from stager.cli.up.options import Options, Place
from stager.cli.up.reporting import reported
from stager.domain.errors import Fault, Refused, StagerError
from stager.domain.names import slugify
from stager.fast_import import import_in_background, without_collection
from stager.front.process.launcher import FrontLauncher, FrontOptions
from stager.state import StateDirectory

if TYPE_CHECKING:
    from stager.cli.up.first_commit import FirstCommit
    from stager.cli.up.local_previews import LocalPreviews
    from stager.cli.up.working_tree import WorkingTree

POLL_INTERVAL = 1.0
"""Seconds between two looks at the files."""
PORTS = range(8000, 8100)
USER = "up"
SHARED = "stager.settings.repository_file"
"""What both processes need most of, so that it is imported before the fork."""
SERVER = ("stager.cli.log_output", "stager.cli.up.embedded_server")
"""The modules of the server. The first imports the library of the log as fast as it can be."""


class Session:
    """A run of `stager up`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._state = StateDirectory(state_of(place.folder))
        self._password = secrets.token_urlsafe(16)

    def run(self, options: Options) -> None:
        """Run until SIGINT or SIGTERM.

        Raises:
            StagerError: the server can't run.
            typer.Exit: the folder can't be built, and the reason was printed; or a signal came before.
        """
        self._state.lock()
        with without_collection():
            from stager.cli.up.first_commit import commit_first  # noqa: PLC0415 (not for `stager up --help`)

            import_module(SHARED)
        first = forked(reported()(partial(commit_first, self._place, options, self._state.path)))
        try:
            asyncio.run(self._run(first))
        finally:
            first.end()

    async def _run(self, forked: Fork[FirstCommit]) -> None:
        ended = _signalled()
        await FrontLauncher(self._state.front).stop()  # left by a killed run
        port = _free_port(self._place.port)
        async with self._front(port) as front:
            imported = asyncio.create_task(import_in_background(*SERVER))
            first = await _unless(ended, forked)
            await asyncio.gather(front, imported)
            await self._serve(first, port, ended)
            first.tree.remove()

    @asynccontextmanager
    async def _front(self, port: int) -> AsyncIterator[Awaitable[object]]:
        """Run the front; yields its start. Once it has started, the server uses it."""
        front = FrontLauncher(self._state.front, front_options(port))
        starting = asyncio.create_task(front.ensure())
        try:
            yield starting
        finally:
            await asyncio.gather(starting, return_exceptions=True)
            await front.stop()

    async def _serve(self, first: FirstCommit, port: int, ended: asyncio.Event) -> None:
        from stager.cli.up.embedded_server import Server, serving  # noqa: PLC0415 (imported in the background)
        from stager.cli.up.progress import Progress  # noqa: PLC0415
        from stager.cli.up.terminal import StandardTerminal  # noqa: PLC0415

        terminal, prepared, tree = StandardTerminal(), first.prepared, first.tree
        configuration = configuration_of(self._place, prepared.application, self._state.path, port)
        users = {"authentication_strategy": "BasicAuthentication", "users": [f"{USER}:{self._password}"]}
        server = Server(self._state, {**configuration, **users}, {**os.environ, **prepared.environ})
        async with serving(server, self._place.name, first.commit) as (previews, is_settled):
            try:
                opens = self._place.opens
                progress = Progress(previews, terminal, prepared.default_command, opens=opens)
                await _follow(previews, tree, progress.follow(is_settled), ended)
            finally:
                terminal.say("Removing the preview ...")
                for problem in await _remove(previews, tree):
                    terminal.say(f"stager: {problem}")


def front_options(port: int) -> FrontOptions:
    """The front's options: those of the server that is configured by `configuration_of`."""
    return FrontOptions(listen=f"127.0.0.1:{port}", access_log=False)


def configuration_of(place: Place, application: object, state: Path, port: int) -> dict[str, Any]:
    """The server's configuration.

    Args:
        application: the entry under `images:`.
    """
    return {
        "state_dir": str(state),
        "listen": f"127.0.0.1:{port}",
        "domain": f"localhost:{port}",
        "local_forge": {place.name: str(state / "files.git")},
        "images": {place.name: application},
        "access_log": False,
    }


async def _unless(ended: asyncio.Event, forked: Fork[FirstCommit]) -> FirstCommit:
    """The result of the forked process. Raises `typer.Exit` if the command ends before."""
    working, waiting = asyncio.create_task(forked.result()), asyncio.create_task(ended.wait())
    await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not working.done():
        forked.end()
    return await working


async def _follow(
    previews: LocalPreviews, tree: WorkingTree, progress: Coroutine[None, None, None], ended: asyncio.Event
) -> None:
    """Commit changed files and show the preview's progress, until the end."""
    shown, waiting = asyncio.create_task(progress), asyncio.create_task(ended.wait())
    try:
        await previews.remove_others()
        while not waiting.done() and not shown.done():
            await asyncio.wait((waiting, shown), timeout=POLL_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
            with suppress(Fault):  # a file may be removed while it is read; the next poll commits the rest
                if update := await tree.commit():
                    await previews.push(tree.repository, update)
    finally:
        waiting.cancel()
        shown.cancel()
        _raise_first(await asyncio.gather(waiting, shown, return_exceptions=True))


async def _remove(previews: LocalPreviews, tree: WorkingTree) -> list[StagerError]:
    """Remove the preview and delete the branch. Returns what went wrong."""
    problems = []
    try:
        await previews.remove()
    except StagerError as error:
        problems.append(error)
    with suppress(Fault):
        await previews.push(tree.repository, await tree.end())
        await previews.forgotten()
    return problems


def _raise_first(results: Iterable[object]) -> None:
    """Raise the first error of cancelled tasks that isn't the cancellation."""
    for result in results:
        if isinstance(result, Exception):
            raise result


def _signalled() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    return ended


def state_of(folder: Path) -> Path:
    """Return the state folder for this folder, below `$XDG_STATE_HOME` (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]
    return Path(base) / "stager" / "up" / f"{slugify(folder.name)[:20]}-{digest}"


def _free_port(port: int | None) -> int:
    """Return `port`; the first free one of `PORTS` for None, any free one for 0."""
    if port:
        return port
    for candidate in PORTS if port is None else (0,):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", candidate))
            return int(probe.getsockname()[1])
    raise Refused(
        f"All ports from {PORTS[0]} to {PORTS[-1]} are in use.",
        hint="Choose one with --port.",
        reason="all-ports-taken",
    )
