"""`stager deliveries`: the last webhook deliveries and their outcomes."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, server
from stager.cli.client.output import echo, echo_json, echo_table, local_time, note

DELIVERIES = "/api/v1/deliveries"
MAX_LIMIT = 200


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command(cls=ClientCommand)(deliveries)


def deliveries(
    limit: Annotated[
        int, typer.Option("--limit", "-n", help="Maximum number of deliveries.", min=1, max=MAX_LIMIT)
    ] = 20,
    search: Annotated[
        str,
        typer.Option("--search", metavar="TEXT", help="Only those with this text, such as `acme/shop#7`."),
    ] = "",
    replay: Annotated[
        str, typer.Option("--replay", metavar="ID", help="Process this delivery again, as a new one.")
    ] = "",
    forge: Annotated[
        str,
        typer.Option("--forge", help="With --replay: its forge, if two forges have a delivery of this id."),
    ] = "",
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """List webhook deliveries and their outcomes. The newest come first. You must be an administrator.

    With --json: `deliveries`, and `refused` with the causes of those that weren't accepted. With --replay and
    --json: the new delivery's `id`.
    """
    if replay:
        _replay(endpoint, replay, forge, as_json=as_json)
        return
    with server(endpoint) as api:
        found = api.connection.get(DELIVERIES, limit=limit, q=search)
    if as_json:
        echo_json(found)
        return
    rows = [
        (
            local_time(one["received_at"]),
            one["event"],
            one["about"],
            one["outcome"] or "in progress",
            one["id"],
        )
        for one in found["deliveries"]
    ]
    if rows:
        echo_table(("RECEIVED", "EVENT", "ABOUT", "OUTCOME", "ID"), rows)
    else:
        note("No delivery has been accepted.")
    for one in found["refused"]:
        last = local_time(one["last_at"])
        note(f"{one['forge']}: {one['count']} refused, last at {last}: {one['message']}")


def _replay(endpoint: str, delivery: str, forge: str, *, as_json: bool) -> None:
    query = f"?{urlencode({'forge': forge})}" if forge else ""
    with server(endpoint) as api:
        found = api.connection.post(f"{DELIVERIES}/{quote(delivery, safe='')}/replay{query}")
    if as_json:
        echo_json(found)
    else:
        echo(found["id"])
