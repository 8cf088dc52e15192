"""`stager hash-password`: hashes a password for the configuration."""

from __future__ import annotations

import sys

import typer


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command("hash-password")(hash_password)


def hash_password() -> None:
    """Hash a password for the configuration.

    The hash can replace the password in `users`. The password is prompted for, or read from standard input.
    """
    # Loading argon2 takes a moment, which `--help` saves.
    from stager.auth.basic import hash_of  # noqa: PLC0415

    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        typer.echo("stager: The password is empty. Type one, or pass it on standard input.", err=True)
        raise typer.Exit(2)
    typer.echo(hash_of(password))
