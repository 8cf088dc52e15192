"""`stager hash-password`: what may stand in the configuration in a password's place."""

from __future__ import annotations

import sys

import typer


def mount(app: typer.Typer) -> None:
    """Give `app` the command."""
    app.command("hash-password")(hash_password)


def hash_password() -> None:
    """Hash a password for the configuration.

    The hash can replace the password in `users`. The password is prompted for, or read from standard input.
    """
    # Takes a moment to load, which other commands needn't wait for.
    from stager.auth.basic import hash_of  # noqa: PLC0415

    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        typer.echo("An empty password is none. Type one, or send it by standard input.", err=True)
        raise typer.Exit(2)
    typer.echo(hash_of(password))
