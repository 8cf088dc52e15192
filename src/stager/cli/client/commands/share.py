"""`stager share`: makes a link to a private preview."""

from __future__ import annotations

from typing import Annotated

import typer

from stager.cli.client.api.resolve import find
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, Which, server
from stager.cli.client.lifetime import seconds
from stager.cli.client.output import echo, echo_json, local_time, note


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command(cls=ClientCommand)(share)


def share(
    which: Which,
    *,
    lifetime: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Lifetime of the link, such as `12h` or `7d`.")
    ] = "7d",
    remark: Annotated[str, typer.Option("--note", metavar="TEXT", help="For whom or what the link is.")] = "",
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Print a link to a private preview.

    Anybody with the link sees the preview until the link expires. `private` of the application must list
    `link`. The preview's page lists and revokes links.

    \b
    Example:
      stager share shop my-branch --for 1d
    """
    body = {"expires_in": seconds("--for", lifetime), "note": remark}
    with server(endpoint) as api:
        created = api.share(find(api, which).id, body)
    if as_json:
        echo_json(created)
        return
    note(f"Valid until {local_time(created['expires_at'])}. It won't be shown again:")
    echo(created["url"])
