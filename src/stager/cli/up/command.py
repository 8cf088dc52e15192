"""`stager up`: the command and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stager.cli.up.options import BuildOptions, Given, Options, Place
from stager.cli.up.reporting import fail, reported
from stager.cli.up.session import Session
from stager.domain.names import slugify


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
    build_arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Set a build argument, such as PYTHON_BASE for another base image; repeatable.",
        ),
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
        fail(f"There is no folder {path}.")
    if name and not slugify(name):
        fail("--name: expected letters or digits, such as --name shop.")
    place = Place(path, slugify(name or path.name) or "up", port, opens=open_)
    files = tuple(file.absolute() for file in env_file or ())
    options = Options(
        BuildOptions(dockerfile, context), app_port, Given(tuple(env or ()), files, tuple(build_arg or ()))
    )
    with reported():
        Session(place).run(options)
