"""`stager capacity`: what previews use of the machine, and the queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, server
from stager.cli.client.lifetime import age
from stager.cli.client.output import echo, echo_json, echo_table, note
from stager.domain.text import binary_size

CAPACITY = "/api/v1/capacity"


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command(cls=ClientCommand)(capacity)


def capacity(endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Show what previews use of the machine, and the queue.

    The least recently visited preview comes first: it is the first one that sleeps to make room. Those that
    wait come last, in the order in which they start.

    \b
    Examples:
      stager capacity
      stager capacity --json | jq '.counts.waiting'
    """
    with server(endpoint) as api:
        found = api.connection.get(CAPACITY)
    if as_json:
        echo_json(found)
        return
    for name, value in _facts(found):
        echo(f"{name + ':':<12} {value}")
    if not found["previews"]:
        note("There are no previews.")
        return
    echo("")
    echo_table(
        ("IMAGE", "NAME", "STATE", "MEMORY", "VISITED", "WAITS FOR"), [_row(p) for p in found["previews"]]
    )


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    counts, limits, machine = found["counts"], found["limits"], found["machine"] or {}
    asleep = counts["paused"] + counts["stopped"]
    yield "running", f"{counts['awake']}{_of(limits['host']['max_running'])}"
    yield "asleep", str(asleep)
    yield "waiting", str(counts["waiting"])
    if limits["max_previews"] is not None:
        yield "previews", f"{counts['awake'] + asleep}{_of(limits['max_previews'])}"
    most = limits["host"]["max_memory"]
    yield "memory", f"{binary_size(found['memory'])}{_of(most and binary_size(most))} used by previews"
    for name, free, total in (("machine", "available_memory", "memory"), ("disk", "free_disk", "disk")):
        if machine.get(free) is not None:
            reserve = limits["free_memory" if name == "machine" else "free_disk"]
            sizes = [binary_size(size) for size in (machine[free], machine[total], reserve)]
            what = "memory available" if name == "machine" else "free"
            yield name, f"{sizes[0]} of {sizes[1]} {what}, {sizes[2]} reserved"


def _of(limit: object) -> str:
    return "" if limit is None else f" of {limit}"


def _row(preview: Mapping[str, Any]) -> tuple[str, ...]:
    waits = f"place {preview['place']}: {preview['reason']}" if preview["place"] else ""
    visited = age(preview["visited_at"]) if preview["visited_at"] else ""
    memory = binary_size(preview["memory"]) if preview["memory"] else ""
    return preview["app"], preview["name"], preview["occupancy"], memory, visited and f"{visited} ago", waits
