"""`stager build-log`: what a build said, while it runs and long after.

Reads what the server keeps in its `state_dir`: it runs on the server's machine, and needs no server to run.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from stager.domain.deployment import Deployment, Phase, phase_of
from stager.domain.environment import Environment
from stager.domain.errors import StagerError
from stager.ports.store import Store, Transaction
from stager.settings.loading.loader import find, state_dir_of
from stager.settings.loading.problems import ConfigurationError
from stager.state import StateDirectory
from stager.stores.logs import FileLogs

LOOK_EVERY = 0.3
"""Seconds between two looks while a build is followed."""
ON_THE_WAY = frozenset({Phase.QUEUED, Phase.BUILDING})


def mount(app: typer.Typer) -> None:
    """Add this command."""
    app.command("build-log")(build_log)


def build_log(
    preview: Annotated[str, typer.Argument(metavar="NAME|ID", help="The branch or name, or the id.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the build is over.")] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The configuration file; ./config.yml when there is one."),
    ] = None,
) -> None:
    """Show a build log from the server's files.

    Prints the log of a preview's latest build. Reads the `state_dir`, so the server needn't be running, but
    you need read permission for that folder. From another machine, use `stager logs --build`.
    """
    try:
        state = StateDirectory(state_dir_of(find(config, os.environ, Path.cwd()), environ=os.environ))
        if not state.database.exists():
            _fail(f"Stager has never run in {state.path}.")
        asyncio.run(_print(state, preview, follow=follow))
    except (ConfigurationError, StagerError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def _print(state: StateDirectory, preview: str, *, follow: bool) -> None:
    # SQLAlchemy costs a third of a second, which `--help` can save.
    from stager.stores.sqlite.store import SqliteStore  # noqa: PLC0415

    store = SqliteStore(state.database)
    try:
        environment = _the_one(preview, await store.read(lambda tx: tx.environments()))
        said = False
        async for piece in log_of(store, FileLogs(state.path / "builds"), environment.id, follow=follow):
            typer.echo(piece, nl=False)
            said = True
    finally:
        await store.close()
    if not said:
        _fail(f'Nothing is kept of a build of "{environment.name}".')


def _the_one(preview: str, environments: list[Environment]) -> Environment:
    """The environment that is meant; what is gone only where nothing else is."""
    by_id = [e for e in environments if e.id == preview]
    named = [e for e in environments if e.name == preview]
    found = by_id or [e for e in named if e.desired.is_present] or named
    if not found:
        _fail(f'There is no preview "{preview}".')
    if len(found) > 1:
        listed = "".join(f"\n  {e.id}  {e.app}, {e.key.subject}" for e in found)
        _fail(f'"{preview}" may mean several previews; say which by its id:{listed}')
    return found[0]


async def log_of(store: Store, logs: FileLogs, environment_id: str, *, follow: bool) -> AsyncIterator[str]:
    """The log of an environment's newest build, piece by piece.

    Args:
        follow: go on until nothing more is built.
    """
    key, offset = "", 0
    while True:
        environment, deployments = await store.read(lambda tx: _history(tx, environment_id))
        goes_on = environment is not None and _goes_on(environment, deployments)
        newest = next((d.build for d in deployments if d.build), "")
        if newest != key:
            key, offset = newest, 0
        text, offset = logs.read(key, offset) if key else ("", 0)
        if text:
            yield text
        if not (follow and goes_on):
            return
        await asyncio.sleep(LOOK_EVERY)


def _history(tx: Transaction, environment_id: str) -> tuple[Environment | None, list[Deployment]]:
    return tx.environment(environment_id), tx.deployments(environment_id)


def _goes_on(environment: Environment, deployments: list[Deployment]) -> bool:
    """Whether its newest deployment isn't as far as a start."""
    generation = environment.desired.generation
    wanted = next((d for d in deployments if d.generation == generation), None)
    return wanted is not None and phase_of(wanted, environment) in ON_THE_WAY


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"stager: {sentence}", err=True)
    raise typer.Exit(1)
