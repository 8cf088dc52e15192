"""`stager pictures`: lists the pictures of a preview's pages."""

from __future__ import annotations

from typing import Any

import typer

from stager.cli.client.api.resolve import find
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, Which, server
from stager.cli.client.output import echo_json, echo_table, note


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command(cls=ClientCommand)(pictures)


def pictures(which: Which, endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """List the pictures of a preview's pages. With what differs from the base branch, and the page's errors.

    The preview's page shows them.

    \b
    Example:
      stager pictures shop my-branch
    """
    with server(endpoint) as api:
        found = api.pictures(find(api, which).id)
    if as_json:
        echo_json(found)
        return
    if not found["pictures"]:
        note(found["message"] or "There are no pictures yet.")
        return
    rows = [(one["route"], str(one["width"]), _change(one), _problems(one)) for one in found["pictures"]]
    echo_table(("ROUTE", "WIDTH", "CHANGED", "PROBLEMS"), rows)


def _change(one: dict[str, Any]) -> str:
    return "" if one["changed"] is None else f"{one['changed']:.1%}"


def _problems(one: dict[str, Any]) -> str:
    return str(one["failed"] or "; ".join(one["problems"]))
