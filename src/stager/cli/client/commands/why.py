"""`stager why`: why a pull request or branch has no preview."""

from __future__ import annotations

from typing import Annotated

import typer

from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, server
from stager.cli.client.output import echo_json, note

WHY = "/api/v1/why"


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command(cls=ClientCommand)(why)


def why(
    target: Annotated[
        str,
        typer.Argument(
            metavar="OWNER/REPO#NUMBER|BRANCH",
            help="A pull request or a branch, such as `acme/shop#7`; or the address of a pull request.",
        ),
    ],
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Tell why a pull request or branch has no preview.

    With --json: an object with `code`, `message`, `hint`, `rule`, `environment` and `url`.
    """
    with server(endpoint) as api:
        found = api.connection.get(WHY, target=target)
    if as_json:
        echo_json(found)
        return
    typer.echo(found["message"])
    for line in (found["hint"], f"Setting: {found['rule']}" if found["rule"] else "", found["url"] or ""):
        if line:
            note(line)
