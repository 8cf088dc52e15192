"""`stager serve`, `stager front`, `stager stop` and `stager status`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from stager.cli import log_output, login_link
from stager.cli.control_socket import request
from stager.domain.errors import StagerError
from stager.front.process.client import FrontClient
from stager.front.process.launcher import FrontLauncher
from stager.settings.loading.loader import Loaded, find, load, state_dir_of
from stager.settings.loading.problems import ConfigurationError
from stager.settings.values.network import Address
from stager.state import UMASK, StateDirectory

STOP_SECONDS = 30.0
START_SECONDS = 60.0
NOT_RUNNING = 3
"""The exit code of a status command for a program that isn't running (Linux Standard Base, init scripts)."""

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration file; by default $STAGER_CONFIG or ./config.yml."),
]


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command()(serve)
    app.command()(front)
    app.command()(stop)
    app.command()(status)
    app.command("login-link")(print_login_link)


def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on; overrides `listen`.")] = None,
    port: Annotated[
        int | None,
        typer.Option(help="The port to listen on; overrides `listen`. 0: any free port.", min=0, max=65_535),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Run in the background.")] = False,
    external_front: Annotated[
        bool, typer.Option("--external-front", help="Use the front that `stager front` runs.")
    ] = False,
) -> None:
    """Run the server.

    Runs in the foreground until SIGTERM or Ctrl-C. Previews keep running and stay reachable through the
    front; `stager stop` stops the front as well. With --detach, the command returns once the server answers,
    and the log is `stager.log` in the `state_dir`.
    """
    loaded = _loaded(config, host, port)
    state = StateDirectory(loaded.settings.state_dir)
    os.umask(UMASK)
    if detach:
        _detach(state)
    else:
        _run(loaded, state, partial(_loaded, config, host, port), external_front=external_front)


def front(config: ConfigOption = None) -> None:
    """Run the front alone.

    The front is the proxy that serves all previews. `stager serve` starts it by itself; this command and
    `stager serve --external-front` run the two apart, such as in two containers. Stops at SIGTERM, after
    the open requests.
    """
    loaded = _loaded(config)
    state = StateDirectory(loaded.settings.state_dir)
    os.umask(UMASK)
    # Imported here for the same reason as the server in `_run`.
    from stager.assembly.front import front_options  # noqa: PLC0415

    try:
        state.prepare()
        asyncio.run(_keep_front(FrontLauncher(state.front, front_options(loaded.settings, state))))
    except StagerError as error:
        _fail(str(error))


async def _keep_front(launcher: FrontLauncher) -> None:
    """Keep a front running until a signal, and stop it."""
    stopped = _signalled()
    hello = await launcher.ensure()
    typer.echo(f"The front listens on {hello.listen}, process {hello.pid}.")
    keeping = asyncio.create_task(launcher.keep(_report_front))
    await stopped.wait()
    await launcher.stop()
    await keeping


def _report_front(problem: str) -> None:
    typer.echo(f"stager: {problem}" if problem else "The front was restarted.", err=bool(problem))


def stop(config: ConfigOption = None) -> None:
    """Stop the server.

    Stops the control plane and the front. Containers keep running and are adopted at the next start, but
    can't be reached until then.
    """
    state = _state(config)
    process = state.running()
    if process is not None:
        os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while state.running() == process:
            if time.monotonic() > deadline:
                _fail(f"Process {process} didn't stop within {STOP_SECONDS:g} s. See its log: {state.log}.")
            time.sleep(0.05)
    fronts = asyncio.run(_stop_front(state))
    typer.echo("Stager stopped." if process or fronts else "Stager wasn't running.")


def status(config: ConfigOption = None) -> None:
    """Show whether the server is running.

    The exit code is 0 when the server is running and ready, and 3 otherwise.
    """
    state = _state(config)
    process = state.running()
    front = asyncio.run(_greet_front(state))
    typer.echo(f"control plane: {f'running, process {process}' if process else 'not running'}")
    typer.echo(f"front:         {front or 'not running'}")
    answer = readiness(state) if process else None
    reported = {**answer["problems"], **answer.get("notices", {})} if answer else {}
    for part, sentence in reported.items():
        typer.echo(f"{part}: {sentence}")
    if not (process and front and answer and answer["ready"]):
        raise typer.Exit(NOT_RUNNING)


def print_login_link(config: ConfigOption = None) -> None:
    """Print a link that signs in an administrator.

    The link works once, for an hour, and replaces the last one. Run it as the user that runs the server, or
    as root; the server must be running.
    """
    try:
        typer.echo(login_link.create(_state(config)))
    except StagerError as error:
        _fail(str(error))


def _loaded(config: Path | None, host: str | None = None, port: int | None = None) -> Loaded:
    try:
        loaded = load(find(config, os.environ, Path.cwd()), environ=os.environ)
    except ConfigurationError as error:
        _fail(str(error))
    listen = loaded.settings.listen
    wanted = Address(listen.host if host is None else host, listen.port if port is None else port)
    settings = loaded.settings.model_copy(update={"listen": wanted})
    return replace(loaded, settings=settings)


def _state(config: Path | None) -> StateDirectory:
    try:
        return StateDirectory(state_dir_of(find(config, os.environ, Path.cwd()), environ=os.environ))
    except ConfigurationError as error:
        _fail(str(error))


def _run(
    loaded: Loaded, state: StateDirectory, load_again: Callable[[], Loaded], *, external_front: bool
) -> None:
    # Importing the server takes most of a second, which `stop` and `status` save.
    from stager.assembly.server import serve as serve_until  # noqa: PLC0415

    log_output.configure(loaded.settings.log_format)
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    try:
        state.lock()
        login_link.print_first(state)
        serving = partial(serve_until, external_front=external_front, reloads=True)
        while asyncio.run(_until_signalled(partial(serving, loaded, state))):
            loaded = load_again()
    except StagerError as error:
        _fail(str(error))


async def _until_signalled(serve_until: Callable[[asyncio.Event], Awaitable[bool]]) -> bool:
    return await serve_until(_signalled())


def _signalled() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped


def _detach(state: StateDirectory) -> None:
    """Start the same command in a new session, and wait until the server answers."""
    if (process := state.running()) is not None:
        _fail(f"Stager is already running, process {process}.")
    state.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--detach", "-d")]
    begin = state.log.stat().st_size if state.log.exists() else 0
    with state.log.open("ab") as log:
        child = subprocess.Popen(  # noqa: S603 (this command)
            [sys.executable, "-m", "stager", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if state.running() == child.pid and readiness(state) is not None:
            typer.echo(f"Stager is running, process {child.pid}. Its log is {state.log}.")
            login_link.print_if_unused(state)
            return
        if child.poll() is not None:
            break
        time.sleep(0.05)
    _fail(
        "Stager didn't start. Its log: " + state.log.read_bytes()[begin:].decode("utf-8", "replace")[-4_000:]
    )


async def _stop_front(state: StateDirectory) -> bool:
    running = await _greet_front(state) is not None
    await FrontLauncher(state.front).stop()
    return running


async def _greet_front(state: StateDirectory) -> str | None:
    client = FrontClient(state.front)
    try:
        hello = await client.connect()
    except StagerError:
        return None
    finally:
        await client.close()
    return f"running, process {hello.pid}, listens on {hello.listen}"


def readiness(state: StateDirectory) -> dict[str, Any] | None:
    """Return the response of the local control plane to `/readyz` on its socket; None when it doesn't
    answer."""
    try:
        return request(state, "GET", "/readyz").json()
    except StagerError:
        return None


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"stager: {sentence}", err=True)
    raise typer.Exit(1)
