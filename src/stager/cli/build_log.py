"""`stager build-log`: the log of a build, running or finished.

Reads the server's `state_dir` on its machine; the server needn't be running.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer

from stager.cli.plain_command import PlainCommand
from stager.domain.deployment import Deployment, Phase, phase_of
from stager.domain.environment import Environment
from stager.domain.errors import StagerError
from stager.ports.store import Store, Transaction
from stager.settings.loading.loader import find, state_dir_of
from stager.settings.loading.problems import ConfigurationError
from stager.state import StateDirectory
from stager.stores.logs import FileLogs

POLL_INTERVAL = 0.3
"""Seconds between two polls while a build is followed."""
IN_PROGRESS = frozenset({Phase.QUEUED, Phase.BUILDING})


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command("build-log", cls=PlainCommand)(build_log)


def build_log(
    preview: Annotated[str, typer.Argument(metavar="NAME", help="The preview: its name, slug, id or URL.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the log until the build ends.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="The configuration file; by default $STAGER_CONFIG or ./config.yml."
        ),
    ] = None,
) -> None:
    """Show a build log from the server's files.

    Prints the log of a preview's latest build. Reads the `state_dir`, so the server needn't be running, but
    you need read permission for that folder. From another machine, use `stager logs --build`.
    """
    try:
        state = StateDirectory(state_dir_of(find(config, os.environ, Path.cwd()), environ=os.environ))
        if not state.database.exists():
            _fail(
                f"There is no database in {state.path}: the server was never started with this configuration."
            )
        asyncio.run(_print(state, preview, follow=follow))
    except (ConfigurationError, StagerError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def _print(state: StateDirectory, preview: str, *, follow: bool) -> None:
    # SQLAlchemy costs a third of a second, which `--help` saves.
    from stager.stores.sqlite.store import SqliteStore  # noqa: PLC0415

    store = SqliteStore(state.database)
    try:
        environment = _find(preview, await store.read(lambda tx: tx.environments()))
        has_output = False
        async for piece in log_of(store, FileLogs(state.path / "builds"), environment.id, follow=follow):
            typer.echo(piece, nl=False)
            has_output = True
    finally:
        await store.close()
    if not has_output:
        _fail(f'There is no build log of "{environment.name}".')


def _find(preview: str, environments: list[Environment]) -> Environment:
    """Return the environment of this name, id, slug or URL; a removed one only if there is no other."""
    by_id = [e for e in environments if e.id == preview]
    host = (urlsplit(preview).hostname or "" if "://" in preview else preview).lower()
    named = [e for e in environments if e.name == preview] or [
        e for e in environments if host in (e.host, e.host.partition(".")[0])
    ]
    found = by_id or [e for e in named if e.desired.is_present] or named
    if not found:
        _fail(f'There is no preview "{preview}".')
    if len(found) > 1:
        listed = "".join(f"\n  {e.id}  {e.app}, {e.key.subject}" for e in found)
        _fail(f'"{preview}" matches several previews. Pass the id instead:{listed}')
    return found[0]


async def log_of(store: Store, logs: FileLogs, environment_id: str, *, follow: bool) -> AsyncIterator[str]:
    """Yield the log of an environment's latest build in pieces.

    Args:
        follow: continue until the build ends.
    """
    key, offset = "", 0
    while True:
        environment, deployments = await store.read(lambda tx: _history(tx, environment_id))
        is_in_progress = environment is not None and _is_in_progress(environment, deployments)
        newest = next((d.build for d in deployments if d.build), "")
        if newest != key:
            key, offset = newest, 0
        text, offset = logs.read(key, offset) if key else ("", 0)
        if text:
            yield text
        if not (follow and is_in_progress):
            return
        await asyncio.sleep(POLL_INTERVAL)


def _history(tx: Transaction, environment_id: str) -> tuple[Environment | None, list[Deployment]]:
    return tx.environment(environment_id), tx.deployments(environment_id)


def _is_in_progress(environment: Environment, deployments: list[Deployment]) -> bool:
    """Whether its latest deployment is waiting for its image."""
    generation = environment.desired.generation
    wanted = next((d for d in deployments if d.generation == generation), None)
    return wanted is not None and phase_of(wanted, environment) in IN_PROGRESS


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"stager: {sentence}", err=True)
    raise typer.Exit(1)
