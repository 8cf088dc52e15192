"""The commands that talk to a server, from anybody's machine. They need none of the server's libraries."""

from __future__ import annotations

import typer

from stager.cli.client import configure, launching, logs, looking, people, shell, signing_in, waiting


def mount(app: typer.Typer) -> None:
    """Add all of these commands."""
    for module in (configure, launching, waiting, looking, logs, shell, signing_in, people):
        module.mount(app)
