"""The commands that talk to a server, from anybody's machine. They need none of the server's libraries."""

from __future__ import annotations

import typer

from stager.cli.client.commands import configure, exec_command, launch, login, logs, previews, tokens, wait


def mount(app: typer.Typer) -> None:
    """Add all of these commands."""
    for module in (configure, launch, wait, previews, logs, exec_command, login, tokens):
        module.mount(app)
