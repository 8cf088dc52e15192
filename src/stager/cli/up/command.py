"""`stager up`: the command and its options."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from stager.cli.up.build_choice import BuildOptions
from stager.cli.up.preparation import Options
from stager.cli.up.session import Session, Settings
from stager.cli.up.terminal import StandardTerminal
from stager.cli.up.variables import Given
from stager.domain.errors import StagerError
from stager.domain.names import slugify
from stager.settings.loading.problems import ConfigurationError


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(up)


def up(  # noqa: PLR0913 (one parameter per option)
    folder: Annotated[Path, typer.Argument(help="The folder of the application.")] = Path(),
    *,
    dockerfile: Annotated[
        str,
        typer.Option(metavar="PATH", help="The Dockerfile, relative to FOLDER; by default it is searched."),
    ] = "",
    context: Annotated[
        str,
        typer.Option(metavar="PATH", help="The folder to build, relative to FOLDER; by default a guess."),
    ] = "",
    app_port: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=1, max=65535, help="The port that the application listens on."),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env", "-e", metavar="NAME=VALUE", help="Set a variable for build and run; repeatable."
        ),
    ] = None,
    env_file: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Set the variables of a file, such as .env; repeatable."),
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="The preview's name; by default the folder's.")
    ] = "",
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="The port of the URL; by default the first free one from 8000."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the preview in the browser.")] = False,
) -> None:
    """Preview a local folder and update it when files change.

    Runs the services of the Compose file or of .stager.yml; finds the Dockerfile, or generates one for a
    known framework; reads Procfile, app.json and .env.example. Ctrl-C removes the preview.
    """
    path = folder.absolute().resolve()
    if not path.is_dir():
        _fail(f"There is no folder {path}.")
    if name and not slugify(name):
        _fail("--name: expected letters or digits, such as --name shop.")
    settings = Settings(path, slugify(name or path.name) or "up", port, opens=open_)
    options = Options(
        BuildOptions(dockerfile, context),
        app_port,
        Given(tuple(env or ()), tuple(file.absolute() for file in env_file or ())),
    )
    try:
        asyncio.run(Session(settings, StandardTerminal()).run(options))
    except (StagerError, ConfigurationError) as error:
        detail = getattr(error, "detail", "")
        _fail("\n".join(filter(None, (str(error), detail))))
    except (KeyboardInterrupt, typer.Abort):
        raise typer.Exit(130) from None


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"stager: {sentence}", err=True)
    raise typer.Exit(1)
