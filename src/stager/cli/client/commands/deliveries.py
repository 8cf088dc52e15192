"""`stager deliveries`: the last webhook deliveries and their outcomes."""

from __future__ import annotations

from typing import Annotated

import typer

from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, server
from stager.cli.client.output import echo_json, echo_table, local_time, note

DELIVERIES = "/api/v1/deliveries"
MAX_LIMIT = 200


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command(cls=ClientCommand)(deliveries)


def deliveries(
    limit: Annotated[
        int, typer.Option("--limit", "-n", help="Maximum number of deliveries.", min=1, max=MAX_LIMIT)
    ] = 20,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """List webhook deliveries and their outcomes. The newest come first. You must be an administrator.

    With --json: `deliveries`, and `refused` with the causes of those that weren't accepted.
    """
    with server(endpoint) as api:
        found = api.connection.get(f"{DELIVERIES}?limit={limit}")
    if as_json:
        echo_json(found)
        return
    rows = [
        (local_time(one["received_at"]), one["event"], one["about"], one["outcome"] or "in progress")
        for one in found["deliveries"]
    ]
    if rows:
        echo_table(("RECEIVED", "EVENT", "ABOUT", "OUTCOME"), rows)
    else:
        note("No delivery has been accepted.")
    for one in found["refused"]:
        last = local_time(one["last_at"])
        note(f"{one['forge']}: {one['count']} refused, last at {last}: {one['message']}")
