"""`stager login` and `stager logout`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from stager.cli.client.api.api import ENVIRONMENTS
from stager.cli.client.auth.token import VARIABLE
from stager.cli.client.command import ClientCommand, EndpointOption, connected, strategy_for
from stager.cli.client.output import note, warn


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for command in (login, logout):
        app.command(cls=ClientCommand)(command)


def login(
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Read the password or token from standard input.")
    ] = False,
    endpoint: EndpointOption = "",
) -> None:
    """Sign in to a server.

    The credentials are stored in the system's keyring, or in a file that only you can read.
    """
    with connected(endpoint) as connection:
        strategy = strategy_for(connection, stored=True)
        strategy.sign_in(sys.stdin.readline().rstrip("\r\n") if stdin else "")
        connection.strategy = strategy
        connection.get(ENVIRONMENTS)
        strategy.accepted()
        note(f"Signed in to {connection.endpoint.url}.")
        _warn_of_variable()


def logout(endpoint: EndpointOption = "") -> None:
    """Sign out of a server.

    Deletes the stored password or token. A session also ends on the server; passwords and API tokens stay
    valid.
    """
    with connected(endpoint) as connection:
        deleted = strategy_for(connection, stored=True).sign_out()
        note(f"Signed out of {connection.endpoint.url}." if deleted else "No credentials were stored.")
        _warn_of_variable()


def _warn_of_variable() -> None:
    if os.environ.get(VARIABLE):
        warn(f"{VARIABLE} is set and takes precedence over stored credentials.")
