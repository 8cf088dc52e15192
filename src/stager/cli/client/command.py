"""Shared by all client commands: options, connecting to a server, and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stager.cli.client import settings
from stager.cli.client.api.api import Api
from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.auth.secret_store import open_secret_store
from stager.cli.client.auth.strategies import find
from stager.cli.client.auth.strategy import Account, AuthStrategy
from stager.cli.client.auth.token import VARIABLE as TOKEN_VARIABLE
from stager.cli.client.auth.token import Token
from stager.cli.client.commands.completion import endpoints, images, previews
from stager.cli.client.output import report_error
from stager.cli.plain_command import PlainCommand

if TYPE_CHECKING:
    from stager.cli.client.api.connection import Connection

EndpointOption = Annotated[
    str,
    typer.Option(
        "--endpoint",
        "-e",
        envvar="STAGER_ENDPOINT",
        show_envvar=True,
        metavar="NAME|URL",
        help="The server; by default the configured one.",
        autocompletion=endpoints,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON.")]
ServiceOption = Annotated[
    str,
    typer.Option(
        "--service",
        "-s",
        metavar="NAME",
        help="A service of the preview; by default the main one. `stager show` lists them.",
    ),
]
Image = Annotated[
    str,
    typer.Argument(metavar="IMAGE", help="The application: its entry in `images:`.", autocompletion=images),
]
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The preview's name, such as a branch, or its URL.", autocompletion=previews
    ),
]
Which = Annotated[
    list[str],
    typer.Argument(
        metavar="[IMAGE] NAME",
        help="The preview: its name, slug, id or URL.",
        autocompletion=previews,
    ),
]


class ClientCommand(PlainCommand):
    """A command that reports errors as sentences with documented exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ClientError as error:
            report_error(error, as_json=bool(ctx.params.get("as_json")))
            raise typer.Exit(error.code) from None
        except KeyboardInterrupt:
            raise typer.Exit(Code.INTERRUPTED) from None


@contextmanager
def connected(endpoint: str, timeout: float = settings.REQUEST_TIMEOUT) -> Iterator[Connection]:
    """Connect to an endpoint, without credentials.

    Args:
        endpoint: its name or URL; empty: the default endpoint.
        timeout: seconds until a request times out.
    """
    known = settings.load().endpoint(endpoint)
    # httpx costs 75 ms of processor time, which help and completion skip, and its own command line, which it
    # imports where click is installed, 45 ms more.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    from stager.cli.client.api.connection import Connection  # noqa: PLC0415

    connection = Connection(known, timeout)
    try:
        yield connection
    finally:
        connection.close()


def strategy_for(connection: Connection, *, stored: bool = False) -> AuthStrategy:
    """Return the authentication strategy of an endpoint; a token in the environment takes precedence.

    Args:
        stored: ignore the token in the environment.
    """
    endpoint = connection.endpoint
    has_variable = not stored and os.environ.get(TOKEN_VARIABLE)
    strategy = Token if has_variable else find(endpoint.auth_strategy)
    return strategy(Account(endpoint, open_secret_store(), connection.send))


@contextmanager
def server(endpoint: str, timeout: float = settings.REQUEST_TIMEOUT) -> Iterator[Api]:
    """Return the API of an endpoint, with the credentials of the signed-in user."""
    with connected(endpoint, timeout) as connection:
        connection.strategy = strategy_for(connection)
        yield Api(connection)
