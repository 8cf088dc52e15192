"""What all client commands have in common: options, a server to ask, and how errors become exit codes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from stager.cli.client import settings
from stager.cli.client.api.api import Api
from stager.cli.client.api.connection import ANSWER_SECONDS, Connection
from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.auth.secret_store import open_vault
from stager.cli.client.auth.strategies import find
from stager.cli.client.auth.strategy import Account, AuthStrategy
from stager.cli.client.auth.token import VARIABLE as TOKEN_VARIABLE
from stager.cli.client.auth.token import Token
from stager.cli.client.commands.completion import endpoints, images, previews
from stager.cli.client.output import complain

EndpointOption = Annotated[
    str,
    typer.Option(
        "--endpoint",
        "-e",
        envvar="STAGER_ENDPOINT",
        show_envvar=True,
        metavar="NAME|URL",
        help="The server that is meant; the default one unless given.",
        autocompletion=endpoints,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Image = Annotated[
    str, typer.Argument(metavar="IMAGE", help="The entry under `images:`.", autocompletion=images)
]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The branch, or any other name.", autocompletion=previews)
]
Which = Annotated[
    list[str],
    typer.Argument(
        metavar="PREVIEW", help="IMAGE NAME; or one of its name, its id and its URL.", autocompletion=previews
    ),
]


class ClientCommand(TyperCommand):
    """A command that ends in sentences and documented exit codes, never in a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except ClientError as error:
            complain(error, as_json=bool(ctx.params.get("as_json")))
            raise typer.Exit(error.code) from None
        except KeyboardInterrupt:
            raise typer.Exit(Code.INTERRUPTED) from None


@contextmanager
def connected(endpoint: str, patience: float = ANSWER_SECONDS) -> Iterator[Connection]:
    """A connection to this endpoint, that doesn't say who asks.

    Args:
        endpoint: its name or URL; empty: the default one.
        patience: seconds until an answer isn't waited for any more.
    """
    connection = Connection(settings.load().endpoint(endpoint), patience)
    try:
        yield connection
    finally:
        connection.close()


def strategy_for(connection: Connection, *, stored: bool = False) -> AuthStrategy:
    """The strategy of an endpoint. A token in the environment goes before any.

    Args:
        stored: leave the environment's token out of it.
    """
    endpoint = connection.endpoint
    by_variable = not stored and os.environ.get(TOKEN_VARIABLE)
    strategy = Token if by_variable else find(endpoint.auth_strategy)
    return strategy(Account(endpoint, open_vault(), connection.send))


@contextmanager
def server(endpoint: str, patience: float = ANSWER_SECONDS) -> Iterator[Api]:
    """The API of an endpoint, asked as whoever is signed in there."""
    with connected(endpoint, patience) as connection:
        connection.strategy = strategy_for(connection)
        yield Api(connection)
