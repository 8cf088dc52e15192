"""`stager pictures`: lists the pictures of a preview's pages, and saves them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from stager.cli.client.api.api import Api
from stager.cli.client.api.resolve import find
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, Which, server
from stager.cli.client.output import echo_json, echo_table, note

SaveOption = Annotated[
    Path | None, typer.Option("--save", help="Save the pictures in this folder.", metavar="FOLDER")
]


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command(cls=ClientCommand)(pictures)


def pictures(
    which: Which, save: SaveOption = None, endpoint: EndpointOption = "", as_json: JsonOption = False
) -> None:
    """List the pictures of a preview's pages. With what differs from the base branch, and the page's errors.

    The preview's page shows them.

    \b
    Examples:
      stager pictures shop my-branch
      stager pictures shop my-branch --save pictures
    """
    with server(endpoint) as api:
        found = api.pictures(find(api, which).id)
        if save is not None:
            _save(api, found["pictures"], save)
    if as_json:
        echo_json(found)
        return
    if not found["pictures"]:
        note(" ".join(filter(None, (found["message"], found["hint"]))) or "There are no pictures yet.")
        return
    rows = [(one["route"], str(one["width"]), _change(one), _problems(one)) for one in found["pictures"]]
    echo_table(("ROUTE", "WIDTH", "CHANGED", "PROBLEMS"), rows)


def _save(api: Api, pictures: list[dict[str, Any]], folder: Path) -> None:
    """Save each picture, and the base branch's beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(pictures, 1):
        name = re.sub(r"[^A-Za-z0-9]+", "-", one["route"]).strip("-") or "start"
        for path, suffix in ((one["path"], ""), (one["before_path"], "-before")):
            if path:
                with (
                    api.picture(path) as parts,
                    (folder / f"{number}-{name}-{one['width']}{suffix}.png").open("wb") as file,
                ):
                    file.writelines(parts)


def _change(one: dict[str, Any]) -> str:
    return "" if one["changed"] is None else f"{one['changed']:.1%}"


def _problems(one: dict[str, Any]) -> str:
    return str(one["failed"] or "; ".join(one["problems"]))
