"""`stager data`: the data pool of this machine, which the root helper manages."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from stager.checks.data import summary
from stager.cli.client.output import echo_json
from stager.cli.plain_command import PlainCommand
from stager.cli.server import ConfigOption
from stager.data_pool import DataPool, PoolStatus
from stager.domain.errors import StagerError
from stager.settings.loading.loader import find, load
from stager.settings.loading.problems import ConfigurationError

UNITS = {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

data_commands = typer.Typer(no_args_is_help=True)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(data_commands, name="data")


@data_commands.callback()
def data() -> None:
    """Manage the pool for data of previews."""


@data_commands.command()
def init(
    size: Annotated[str, typer.Option(help="The size of the file, such as 50G.")] = "20G",
    sparse: Annotated[
        bool,
        typer.Option("--sparse", help="Don't reserve the file's blocks; the disk may become full first."),
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Create the data pool.

    In the pool, a snapshot or clone of any size takes a fraction of a second and no space. If the helper's
    data folder (/var/lib/stager-data) is on btrfs or XFS, the pool is a folder there. Otherwise it is an XFS
    file system in a file of fixed size, which `stager data grow` enlarges. A pool that exists stays as it is.
    """
    count = _bytes(size)
    _print(_asked(config, lambda pool: pool.initialize(count, reserve=not sparse)))


@data_commands.command(cls=PlainCommand)
def grow(
    size: Annotated[str, typer.Argument(metavar="SIZE", help="The new size, such as 100G.")],
    config: ConfigOption = None,
) -> None:
    """Enlarge the data pool's file to SIZE. Previews keep running."""
    count = _bytes(size)
    _print(_asked(config, lambda pool: pool.grow(count)))


@data_commands.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the data pool's size and state.

    The exit code is 1 if there is no pool, or it can't be used.
    """
    found = _asked(config, lambda pool: pool.status())
    if as_json:
        echo_json(asdict(found))
        raise typer.Exit(found.state != "ready")
    _print(found)


def _bytes(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,6})([MGT])", text)
    if found is None:
        _fail(f"{text!r} isn't a size such as 20G.")
    return int(found[1]) * UNITS[found[2]]


def _asked(config: Path | None, ask: Callable[[DataPool], Awaitable[PoolStatus]]) -> PoolStatus:
    async def answer(pool: DataPool) -> PoolStatus:
        return await ask(pool)

    try:
        settings = load(find(config, os.environ, Path.cwd()), environ=os.environ).settings
        if settings.helper == "off":
            _fail("The data pool needs the root helper, which is off in the configuration (`helper: off`).")
        return asyncio.run(answer(DataPool(settings.helper_socket)))
    except (StagerError, ConfigurationError) as error:
        _fail(str(error))


def _print(status: PoolStatus) -> None:
    if status.state != "ready":
        _fail(f"{status.problem} {status.hint}".strip())
    typer.echo(summary(status))
    if status.problem:
        typer.echo(f"{status.problem} {status.hint}".strip())


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"stager: {sentence}", err=True)
    raise typer.Exit(1)
