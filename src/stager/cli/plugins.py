"""`stager plugins`: the available handlers and strategies, their origin, and which are enabled. Runs without
a server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stager.ports.plugins import OURS, Kind, Plugin
from stager.settings.loading.loader import Loaded, find, load
from stager.settings.loading.problems import ConfigurationError
from stager.settings.plugins.available import ROUTING


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(plugins)


def plugins(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="The configuration file; by default $STAGER_CONFIG or ./config.yml."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List handlers and strategies. Those that the configuration enables are marked `on`."""
    try:
        loaded = load(find(config, os.environ, Path.cwd()), environ=os.environ)
    except ConfigurationError as error:
        typer.echo(f"stager: {error}", err=True)
        raise typer.Exit(1) from None
    rows = list(_rows(loaded))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _print(rows)


def _rows(loaded: Loaded) -> Iterator[dict[str, object]]:
    for plugin in sorted(loaded.plugins, key=lambda p: (p.kinds[0], p.name)):
        for kind in plugin.kinds:
            yield {
                "name": plugin.name,
                "short": plugin.short_name,
                "kind": kind,
                "origin": plugin.origin,
                "enabled": _is_enabled(plugin, kind, loaded),
                "description": plugin.summary,
            }

    for name, short in ROUTING.items():
        yield {
            "name": name,
            "short": short,
            "kind": "routing_strategy",
            "origin": OURS,
            "enabled": loaded.settings.routing_strategy == name,
            "description": "How requests reach previews.",
        }


def _is_enabled(plugin: Plugin, kind: Kind, loaded: Loaded) -> bool:
    return plugin.name in getattr(loaded.settings, kind)


def _print(rows: list[dict[str, object]]) -> None:
    table = Table("", "NAME", "KIND", "ORIGIN", "DESCRIPTION", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        cells = [str(row[key]) for key in ("name", "kind", "origin", "description")]
        table.add_row("on" if row["enabled"] else "", *(Text(cell, overflow="fold") for cell in cells))
    Console(soft_wrap=False).print(table)
