"""`stager up`: a preview of the folder that one works in, for as long as the command runs.

A Stager of its own in the foreground, with a local repository into which the folder is committed whenever a
file has changed. So a preview is built, checked and replaced as every other is.
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
from stager.forges.local.pushed import pushed
from stager.front.process.launcher import FrontLauncher
from stager.settings.loading.loader import load
from stager.settings.loading.problems import ConfigurationError
from stager.state import StateDirectory

LOOK_SECONDS = 1.0
REMOVAL_SECONDS = 60.0
PORTS = range(8000, 8100)
LONGEST_LOG = 4_000
"""Characters of a log that are shown."""
USER = "up"


def mount(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(up)


def up(
    folder: Annotated[Path, typer.Argument(help="With a Dockerfile in it.")] = Path(),
    port: Annotated[
        int | None, typer.Option(help="The port to listen on; by default the first free one from 8000 on.")
    ] = None,
    app_port: Annotated[
        int | None,
        typer.Option(
            help="Where the application listens inside; by default as the Dockerfile's EXPOSE says."
        ),
    ] = None,
) -> None:
    """Preview a local folder and update it when files change.

    Ctrl-C removes the preview.
    """
    place = folder.absolute().resolve()
    if not (place / "Dockerfile").is_file():
        _fail(f"There is no Dockerfile in {place}.")
    try:
        asyncio.run(_Up(place, port, app_port).run())
    except (StagerError, ConfigurationError) as error:
        _fail(str(error))


class _Up:
    """One run of it.

    Args:
        folder: absolute, without links.
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
        """Until somebody ends it. Raises `StagerError` when it can't run."""
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        self._state.lock()
        await self._tree.begin()
        # Before Stager looks: without the branch it would take the change of a killed run for closed.
        first = await self._tree.commit()
        async with self._serving() as client:
            try:
                await self._tell(first)
                await self._follow(client, ended)
            finally:
                await self._remove(client)
        self._tree.remove()

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[httpx.AsyncClient]:
        """A Stager for this folder, and somebody who may ask it."""
        # Loading the server's rooms takes most of a second, which a typing error needn't wait for.
        from stager.assembly import serve, tidy  # noqa: PLC0415

        front = FrontLauncher(self._state.front)
        await front.stop()  # of a run that was killed
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
        await server  # or what it ended with
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
        """Take in what changes, and show how the preview stands."""
        while not ended.is_set():
            with suppress(Fault):  # a file may vanish while it is read; the next look sees what there is
                await self._tell(await self._tree.commit())
            await self._show(client)
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), LOOK_SECONDS)

    async def _tell(self, told: str | None) -> None:
        """As the repository's hook would. What Stager says of it is shown by and by."""
        if told is None:
            return
        await asyncio.to_thread(pushed, self._tree.repository, [told], lambda _: None)

    async def _show(self, client: httpx.AsyncClient) -> None:
        environment = await self._environment(client)
        if environment is None:
            return
        state = environment["state"]
        lines = [f"{state}: {environment['message']}", environment["hint"], environment["url"]]
        if state in ("failed", "failed-update"):
            lines[2:] = [await self._why(client, f"/api/v1/environments/{environment['id']}")]
        text = "\n".join(filter(None, lines))
        if text != self._shown:
            self._shown = text
            typer.echo(text)

    async def _why(self, client: httpx.AsyncClient, preview: str) -> str:
        """The last lines of what failed: of its build, or of the new instance, not of the one that serves."""
        newest = next(iter((await client.get(f"{preview}/deployments")).json()), {"id": ""})
        answer = await client.get(f"{preview}/log", params={"deployment": newest["id"]})
        return answer.text[-LONGEST_LOG:]

    async def _remove(self, client: httpx.AsyncClient) -> None:
        typer.echo("Removing the preview ...")
        form = {"image_name": self._name, "container_name": self._name, "wait": str(REMOVAL_SECONDS)}
        answer = await client.post("/kill", data=form, timeout=REMOVAL_SECONDS + 10)
        if not answer.is_success:
            typer.echo(f"stager: {answer.text}", err=True)
        with suppress(Fault):
            await self._tell(await self._tree.end())

    async def _environment(self, client: httpx.AsyncClient) -> dict[str, Any] | None:
        """The preview as it stands; None when there is none (any more)."""
        answer = await client.get("/api/v1/environments")
        found: list[dict[str, Any]] = answer.json() if answer.is_success else []
        return next(iter(found), None)


async def _ready(client: httpx.AsyncClient, server: asyncio.Task[None]) -> None:
    """Wait until Stager answers. Raises what kept it from that."""
    while not server.done():
        with suppress(httpx.TransportError):
            if (await client.get("/healthz")).is_success:
                return
        await asyncio.sleep(0.05)
    await server
    raise Fault("Stager ended before it began.", reason="server-ended")


def state_of(folder: Path) -> Path:
    """Where a run in this folder keeps its things: where programs keep what isn't for people (XDG Base
    Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    mark = hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]
    return Path(base) / "stager" / "up" / f"{slugify(folder.name)[:20]}-{mark}"


def _free_port(port: int | None) -> int:
    """This one, or the first that is free; any for 0."""
    if port:
        return port
    for wanted in PORTS if port is None else (0,):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", wanted))
            return int(probe.getsockname()[1])
    raise Refused(
        f"All ports from {PORTS[0]} to {PORTS[-1]} are taken.",
        hint="Choose one with --port.",
        reason="all-ports-taken",
    )


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"stager: {sentence}", err=True)
    raise typer.Exit(1)
