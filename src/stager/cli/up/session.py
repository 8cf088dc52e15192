"""`stager up`: previews a local folder while the command runs.

Runs a server in the foreground with a temporary Git repository, into which the folder is committed when a
file has changed. The preview is built, checked and replaced like any other.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer
import yaml

from stager.cli import log_output
from stager.cli.working_tree import WorkingTree
from stager.domain.errors import Fault, Refused, StagerError
from stager.domain.names import slugify
from stager.forges.local.push_client import report_push
from stager.front.process.launcher import FrontLauncher
from stager.settings.loading.loader import load
from stager.settings.loading.problems import ConfigurationError
from stager.state import StateDirectory

POLL_INTERVAL = 1.0
REMOVAL_TIMEOUT = 60.0
PORTS = range(8000, 8100)
MAX_LOG = 4_000
"""Characters of a log to show."""
USER = "up"


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(up)


def up(
    folder: Annotated[Path, typer.Argument(help="The folder; it must contain a Dockerfile.")] = Path(),
    port: Annotated[
        int | None, typer.Option(help="The port to listen on; by default the first free one from 8000.")
    ] = None,
    app_port: Annotated[
        int | None,
        typer.Option(
            help="The port of the application in the container; by default the Dockerfile's EXPOSE."
        ),
    ] = None,
) -> None:
    """Preview a local folder and update it when files change.

    Ctrl-C removes the preview.
    """
    path = folder.absolute().resolve()
    if not (path / "Dockerfile").is_file():
        _fail(f"There is no Dockerfile in {path}. Add one, or give the folder that has it.")
    try:
        asyncio.run(_Up(path, port, app_port).run())
    except (StagerError, ConfigurationError) as error:
        _fail(str(error))


class _Up:
    """A run of `stager up`.

    Args:
        folder: absolute, without symbolic links.
    """

    def __init__(self, folder: Path, port: int | None, app_port: int | None) -> None:
        self._folder = folder
        self._name = slugify(folder.name) or "up"
        self._state = StateDirectory(state_of(folder))
        self._port, self._app_port = port, app_port
        self._password = secrets.token_urlsafe(16)
        self._tree = WorkingTree(folder, self._state.path / "files.git", self._name)
        self._shown = ""

    async def run(self) -> None:
        """Run until SIGINT or SIGTERM. Raises `StagerError` when the server can't run."""
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        self._state.lock()
        await self._tree.begin()
        # Before the server starts: without the branch, it would take the change of a killed run for closed.
        first = await self._tree.commit()
        async with self._serving() as client:
            try:
                await self._notify(first)
                await self._follow(client, ended)
            finally:
                await self._remove(client)
        self._tree.remove()

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[httpx.AsyncClient]:
        """Run a server for this folder; yields a client of its API."""
        # Importing the server takes most of a second, which a usage error saves.
        from stager.assembly import serve, tidy  # noqa: PLC0415

        front = FrontLauncher(self._state.front)
        await front.stop()  # left by a killed run
        self._port = _free_port(self._port)
        configuration = self._state.path / "config.yml"
        configuration.write_text(yaml.safe_dump(self._configuration()))
        loaded = load(configuration, environ=os.environ)
        log_output.configure("json", self._state.log)
        stopped = asyncio.Event()
        server = asyncio.create_task(serve(loaded, self._state, stopped))
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
                await front.stop()
        await server  # raises its error
        await tidy(loaded.settings, self._state)

    def _configuration(self) -> dict[str, Any]:
        app = {"build": True, **({"port": self._app_port} if self._app_port else {})}
        return {
            "state_dir": str(self._state.path),
            "listen": f"127.0.0.1:{self._port}",
            "domain": f"localhost:{self._port}",
            "local_forge": {self._name: str(self._tree.repository)},
            "images": {self._name: app},
            "authentication_strategy": "BasicAuthentication",
            "users": [f"{USER}:{self._password}"],
            "access_log": False,
        }

    async def _follow(self, client: httpx.AsyncClient, ended: asyncio.Event) -> None:
        """Commit changed files and show the preview's status."""
        while not ended.is_set():
            with suppress(
                Fault
            ):  # a file may be removed while it is read; the next poll commits what there is
                await self._notify(await self._tree.commit())
            await self._show(client)
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), POLL_INTERVAL)

    async def _notify(self, update: str | None) -> None:
        """Notify the server of a push, as the repository's hook does."""
        if update is None:
            return
        await asyncio.to_thread(report_push, self._tree.repository, [update], lambda _: None)

    async def _show(self, client: httpx.AsyncClient) -> None:
        environment = await self._environment(client)
        if environment is None:
            return
        state = environment["state"]
        lines = [f"{state}: {environment['message']}", environment["hint"], environment["url"]]
        if state in ("failed", "failed-update"):
            lines[2:] = [await self._log_tail(client, f"/api/v1/environments/{environment['id']}")]
        text = "\n".join(filter(None, lines))
        if text != self._shown:
            self._shown = text
            typer.echo(text)

    async def _log_tail(self, client: httpx.AsyncClient, preview: str) -> str:
        """Return the end of the log of the failed deployment: its build log or the log of its instance."""
        newest = next(iter((await client.get(f"{preview}/deployments")).json()), {"id": ""})
        answer = await client.get(f"{preview}/log", params={"deployment": newest["id"]})
        return answer.text[-MAX_LOG:]

    async def _remove(self, client: httpx.AsyncClient) -> None:
        typer.echo("Removing the preview ...")
        form = {"image_name": self._name, "container_name": self._name, "wait": str(REMOVAL_TIMEOUT)}
        answer = await client.post("/kill", data=form, timeout=REMOVAL_TIMEOUT + 10)
        if not answer.is_success:
            typer.echo(f"stager: {answer.text}", err=True)
        with suppress(Fault):
            await self._notify(await self._tree.end())

    async def _environment(self, client: httpx.AsyncClient) -> dict[str, Any] | None:
        """Return the preview's current state; None when there is none."""
        answer = await client.get("/api/v1/environments")
        found: list[dict[str, Any]] = answer.json() if answer.is_success else []
        return next(iter(found), None)


async def _ready(client: httpx.AsyncClient, server: asyncio.Task[None]) -> None:
    """Wait until the server answers. Raises its error if it ends."""
    while not server.done():
        with suppress(httpx.TransportError):
            if (await client.get("/healthz")).is_success:
                return
        await asyncio.sleep(0.05)
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


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"stager: {sentence}", err=True)
    raise typer.Exit(1)
