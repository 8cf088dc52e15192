"""`stager gc`: what nothing needs any more on the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, server
from stager.cli.client.output import echo_json, echo_table, note
from stager.domain.text import binary_size

GARBAGE = "/api/v1/garbage"
WITHOUT_SIZE = ("container", "network")
"""Kinds of which no size is known: they need little disk."""


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command(cls=ClientCommand)(gc)


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list it, with the reasons.")] = False,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Remove what nothing needs any more. You must be an administrator.

    These are containers, networks, volumes, images and build cache beyond its limit, all of this installation
    only. Stager removes them by itself within ten minutes; this command does it now.

    \b
    Example:
      stager gc --dry-run
    """
    with server(endpoint) as api:
        found = api.connection.get(GARBAGE) if dry_run else api.connection.delete(GARBAGE)
    if as_json:
        echo_json(found)
        return
    if not found:
        note("There is nothing to remove." if dry_run else "There was nothing to remove.")
        return
    echo_table(("KIND", "NAME", "PREVIEW", "SIZE", "WHY"), [_row(each) for each in found])
    note(f"{'Would free' if dry_run else 'Freed'} {_total(found)}.")


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    size = "" if one["size"] is None else binary_size(int(one["size"]))
    return str(one["kind"]), str(one["name"]), str(one["preview"]), size, str(one["why"])


def _total(found: Sequence[Mapping[str, Any]]) -> str:
    known = binary_size(sum(int(each["size"] or 0) for each in found))
    is_complete = all(each["size"] is not None for each in found if each["kind"] not in WITHOUT_SIZE)
    return known if is_complete else f"at least {known}"
