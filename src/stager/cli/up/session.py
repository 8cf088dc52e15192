"""Runs a server in the foreground with a temporary Git repository, into which the folder is committed when a
file has changed. The preview is built, checked and replaced like any other."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from stager.assembly.front import front_options
from stager.cli import log_output
from stager.cli.up.preparation import Options, Prepared, prepare
from stager.cli.up.progress import ApplicationApi, Progress
from stager.cli.up.terminal import Terminal
from stager.cli.up.variables import ENV_FILE
from stager.cli.up.working_tree import WorkingTree, tracked_env_files
from stager.domain.errors import Fault, Refused
from stager.domain.names import slugify
from stager.fast_import import import_in_background
from stager.forges.local.push_client import report_push
from stager.front.process.launcher import FrontLauncher
from stager.settings.loading.loader import Loaded, load
from stager.settings.model import Settings as ServerSettings
from stager.state import StateDirectory

POLL_INTERVAL = 1.0
"""Seconds between two looks at the files."""
REMOVAL_TIMEOUT = 60.0
PORTS = range(8000, 8100)
USER = "up"
SECRETS_KEY = "generated-secrets.key"


@dataclass(frozen=True, slots=True)
class Settings:
    """What runs where.

    Args:
        folder: absolute, without symbolic links.
        name: of the application and its preview.
        port: of the URL; None for the first free one of `PORTS`, 0 for any free one.
        opens: whether the browser is opened.
    """

    folder: Path
    name: str
    port: int | None = None
    opens: bool = False


class Session:
    """A run of `stager up`."""

    def __init__(self, settings: Settings, terminal: Terminal) -> None:
        self._folder, self._name, self._opens = settings.folder, settings.name, settings.opens
        self._terminal = terminal
        self._state = StateDirectory(state_of(settings.folder))
        self._port = settings.port
        self._password = secrets.token_urlsafe(16)

    async def run(self, options: Options) -> None:
        """Run until SIGINT or SIGTERM. Raises `StagerError` when the folder can't be built, or the server
        can't run."""
        self._state.lock()
        is_tracked = ENV_FILE in await tracked_env_files(self._folder)
        prepared = prepare(
            self._folder,
            self._state.path / SECRETS_KEY,
            options,
            self._terminal,
            is_env_tracked=is_tracked,
        )
        for note in prepared.notes:
            self._terminal.say(note)
        repository = self._state.path / "files.git"
        tree = WorkingTree(self._folder, repository, self._name, lambda: prepared.overlay(self._folder))
        ended = _signalled()
        loaded = await self._loaded(prepared, repository)
        async with self._front(loaded.settings) as front:
            imported = asyncio.create_task(import_in_background("stager.assembly.server"))
            await tree.begin()
            # The server finds the branch when it starts. Without one, it would take the change of a killed
            # run for closed.
            first = await tree.commit()
            await front
            await imported
            async with self._serving(loaded) as client:
                try:
                    await _notify(tree, first)
                    await self._follow(client, tree, prepared, ended)
                finally:
                    await self._remove(client, tree)
        tree.remove()

    async def _loaded(self, prepared: Prepared, repository: Path) -> Loaded:
        """Write and load the server's configuration."""
        await FrontLauncher(self._state.front).stop()  # left by a killed run
        self._port = _free_port(self._port)
        configuration = self._state.path / "config.yml"
        configuration.write_text(yaml.safe_dump(self._configuration(prepared, repository)))
        return load(configuration, environ={**os.environ, **prepared.environ})

    @asynccontextmanager
    async def _front(self, settings: ServerSettings) -> AsyncIterator[Awaitable[object]]:
        """Run the front; yields its start. Once it has started, the server uses it."""
        front = FrontLauncher(self._state.front, front_options(settings))
        starting = asyncio.create_task(front.ensure())
        try:
            yield starting
        finally:
            await asyncio.gather(starting, return_exceptions=True)
            await front.stop()

    @asynccontextmanager
    async def _serving(self, loaded: Loaded) -> AsyncIterator[httpx.AsyncClient]:
        """Run a server for this folder; yields a client of its API."""
        from stager.assembly.server import serve, tidy  # noqa: PLC0415 (imported in the background)

        log_output.configure("json", self._state.log)
        stopped = asyncio.Event()
        server = asyncio.create_task(serve(loaded, self._state, stopped, builds_first=True))
        transport = httpx.AsyncHTTPTransport(uds=str(self._state.control_socket))
        home = f"http://localhost:{self._port}"
        async with httpx.AsyncClient(
            transport=transport, base_url=home, auth=(USER, self._password)
        ) as client:
            try:
                await _ready(client, server)
                yield client
            finally:
                stopped.set()
                await asyncio.wait([server])
        await server  # raises its error
        await tidy(loaded.settings, self._state)

    def _configuration(self, prepared: Prepared, repository: Path) -> dict[str, Any]:
        return {
            "state_dir": str(self._state.path),
            "listen": f"127.0.0.1:{self._port}",
            "domain": f"localhost:{self._port}",
            "local_forge": {self._name: str(repository)},
            "images": {self._name: dict(prepared.application)},
            "authentication_strategy": "BasicAuthentication",
            "users": [f"{USER}:{self._password}"],
            "access_log": False,
        }

    async def _follow(
        self, client: httpx.AsyncClient, tree: WorkingTree, prepared: Prepared, ended: asyncio.Event
    ) -> None:
        """Commit changed files and show the preview's progress, until the end."""
        await self._remove_others(client)
        application = ApplicationApi(client, self._name)
        progress = Progress(application, self._terminal, prepared.default_command, opens=self._opens)
        shown = asyncio.create_task(progress.follow())
        waiting = asyncio.create_task(ended.wait())
        try:
            while not waiting.done() and not shown.done():
                with suppress(
                    Fault
                ):  # a file may be removed while it is read; the next poll commits the rest
                    await _notify(tree, await tree.commit())
                await asyncio.wait(
                    (waiting, shown), timeout=POLL_INTERVAL, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            waiting.cancel()
            shown.cancel()
            await _raise_first(await asyncio.gather(waiting, shown, return_exceptions=True))

    async def _remove_others(self, client: httpx.AsyncClient) -> None:
        """Remove what a killed run with another `--name` left."""
        answer = await client.get("/api/v1/environments")
        for environment in answer.json() if answer.is_success else ():
            if environment["app"] != self._name:
                await client.delete(f"/api/v1/environments/{environment['id']}")

    async def _remove(self, client: httpx.AsyncClient, tree: WorkingTree) -> None:
        self._terminal.say("Removing the preview ...")
        form = {"image_name": self._name, "container_name": self._name, "wait": str(REMOVAL_TIMEOUT)}
        answer = await client.post("/kill", data=form, timeout=REMOVAL_TIMEOUT + 10)
        if not answer.is_success:
            self._terminal.say(f"stager: {answer.text}")
        with suppress(Fault):
            await _notify(tree, await tree.end())


async def _raise_first(results: Iterable[object]) -> None:
    """Raise the first error of cancelled tasks that isn't the cancellation."""
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _notify(tree: WorkingTree, update: str | None) -> None:
    """Notify the server of a push, as the repository's hook does."""
    if update is not None:
        await asyncio.to_thread(report_push, tree.repository, [update], lambda _: None)


def _signalled() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    return ended


async def _ready(client: httpx.AsyncClient, server: asyncio.Task[bool]) -> None:
    """Wait until the server answers. Raises its error if it ends."""
    while not server.done():
        with suppress(httpx.TransportError):
            if (await client.get("/healthz")).is_success:
                return
        await asyncio.sleep(0.02)
    await server
    raise Fault("The server stopped during start-up.", reason="server-ended")


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
