"""The command `stager`."""

from __future__ import annotations

import importlib.util
import sys
from typing import Annotated

import typer
from typer.core import TyperGroup

from stager.cli import client
from stager.cli.client.commands import doctor as doctor_elsewhere
from stager.version import __version__

app = typer.Typer(
    help="Every pull request a running, isolated instance at its own URL.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stager {__version__}")
        raise typer.Exit


@app.callback()
def stager(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Every pull request a running, isolated instance at its own URL."""


def _mount_server() -> None:
    """The commands of the server, where it is installed: `pip install stager` alone is the light client."""
    from stager.cli import (  # noqa: PLC0415 (not there for the client alone)
        build_log,
        config,
        doctor,
        hash_password,
        local_forge,
        nginx,
        plugins,
        server,
        up,
    )

    server.mount(app)
    plugins.mount(app)
    build_log.mount(app)
    up.mount(app)
    doctor.mount(app)
    hash_password.mount(app)
    app.add_typer(config.app, name="config", help="Check, show and describe the server's configuration.")
    app.add_typer(local_forge.app, name="forge", help="Have previews of a repository on this machine.")
    app.add_typer(nginx.app, name="nginx", help="What nginx needs to stand before Stager.")


def _without_server() -> None:
    doctor_elsewhere.mount(app)

    @app.command()
    def serve() -> None:
        """Run Stager (needs `pip install 'stager[server]'`)."""
        typer.echo("The server isn't installed here. Install it: pip install 'stager[server]'", err=True)
        raise typer.Exit(1)


def whole() -> typer.Typer:
    """The command with all that is installed here."""
    if importlib.util.find_spec("fastapi") and importlib.util.find_spec("aiodocker"):
        _mount_server()
    else:
        _without_server()
    return app


def main() -> None:
    """Run the command that was typed."""
    command = typer.main.get_command(app)
    is_clients = isinstance(command, TyperGroup) and sys.argv[1:2] and sys.argv[1] in command.commands
    # The server's commands take most of a second to load, which the client's needn't wait for.
    (app if is_clients else whole())()


client.mount(app)
