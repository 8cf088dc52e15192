"""`stager forge`: Git repositories on this machine whose branches get previews. Runs without a server."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from stager.cli.plain_command import PlainCommand
from stager.domain.errors import StagerError
from stager.forges.local.repository import LocalRepository
from stager.settings.loading.loader import find, load
from stager.settings.loading.problems import ConfigurationError
from stager.settings.model import Settings

forge_commands = typer.Typer(no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(forge_commands, name="forge")


@forge_commands.callback()
def forge() -> None:
    """Manage Git repositories on this machine."""


@forge_commands.command(cls=PlainCommand)
def init(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The bare repository; created if it doesn't exist.")
    ],
    name: Annotated[
        str,
        typer.Option(
            "--app", help="The application: its entry in `images:`; by default the repository's name."
        ),
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="The configuration file; by default $STAGER_CONFIG or ./config.yml."
        ),
    ] = None,
) -> None:
    """Create a bare repository, or register an existing one. Each branch that is pushed to it gets a preview.

    Prints the lines to add to the configuration. The command can be repeated, for example after the
    installation was moved. The repository's content isn't changed.

    \b
    Example:
      stager forge init /srv/git/shop.git
    """
    repository_path, name = path.absolute(), name or path.name.removesuffix(".git")
    repository = LocalRepository(repository_path)
    try:
        new = asyncio.run(repository.adopt())
    except StagerError as error:
        _fail(str(error))
    repository.introduce(name)
    typer.echo(f"{'Created' if new else 'Registered'} {repository_path}.")
    if lines := _lines_to_add(config, name, repository_path):
        typer.echo(f"\nAdd to config.yml and restart Stager:\n\n{lines}")
    typer.echo(
        f"\nThen, in your working copy:\n\n  git remote add stager {repository_path}\n"
        "  git push stager main        # the default branch, which other branches are compared with\n"
        "  git push stager my-branch   # any other branch gets a preview"
    )


def _lines_to_add(config: Path | None, name: str, path: Path) -> str:
    """The lines that the configuration lacks, valid on their own; empty if it has them."""
    try:
        settings = load(find(config, os.environ, Path.cwd()), environ=os.environ).settings
    except ConfigurationError:
        settings = Settings()
    if settings.local_forge.get(name) == path:
        return ""
    application = "" if name in settings.images else f"images:\n  {name}:\n    build: .\n"
    return f"{application}local_forge:\n  {name}: {path}\n"


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"stager: {sentence}", err=True)
    raise typer.Exit(1)
