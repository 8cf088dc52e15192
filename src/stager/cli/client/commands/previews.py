"""`stager list`, `show`, `open` and `logs`: what there is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import typer

from stager.cli.client.api.api import Preview
from stager.cli.client.api.errors import ClientError
from stager.cli.client.api.resolve import find
from stager.cli.client.auth.browser import open_at
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, Which, server
from stager.cli.client.commands.completion import images
from stager.cli.client.output import note, say, say_json, say_table


def mount(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("list", cls=ClientCommand)(list_)
    app.command(cls=ClientCommand)(show)
    app.command("open", cls=ClientCommand)(open_)


def list_(
    app: Annotated[
        str, typer.Option("--app", "-a", metavar="IMAGE", help="Only this one's.", autocompletion=images)
    ] = "",
    gone: Annotated[bool, typer.Option("--gone", help="Those that are gone, too.")] = False,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """List previews. The oldest comes first."""
    with server(endpoint) as api:
        found = api.previews(app, gone=gone)
    if as_json:
        say_json([preview.told for preview in found])
    elif not found:
        note("There are no previews.")
    else:
        rows = [(p.app, p.name, p.state, p.pull_request, p.sha[:7], p.id, p.url) for p in found]
        say_table(("IMAGE", "NAME", "STATE", "PR", "COMMIT", "ID", "URL"), rows)


def show(which: Which, endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Show a preview's status and deployments."""
    with server(endpoint) as api:
        preview = find(api, which)
        deployments = api.deployments(preview.id)
    if as_json:
        say_json({**preview.told, "deployments": [d.told for d in deployments]})
        return
    for name, value in _facts(preview):
        if value:
            say(f"{name + ':':<12} {value}")
    if deployments:
        say("")
        rows = [
            (str(d.generation), d.phase, d.sha[:7], when(d.told.get("created_at")), d.message)
            for d in deployments
        ]
        say_table(("#", "PHASE", "COMMIT", "SINCE", "WHAT HAPPENED"), rows)


def open_(which: Which, endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Open a preview in the browser. Also prints its URL."""
    with server(endpoint) as api:
        preview = find(api, which)
    if as_json:
        say_json(preview.told)
    else:
        say(preview.url)
    if not open_at(preview.url):
        raise ClientError("No browser could be opened.", hint="Set BROWSER, or open the URL above.")


def when(text: object) -> str:
    """A time of the API's in the local time zone."""
    try:
        return datetime.fromisoformat(str(text)).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return ""


def _facts(preview: Preview) -> Iterator[tuple[str, str]]:
    change = preview.told.get("change") or {}
    yield "image", preview.app
    yield "name", preview.name
    yield "state", f"{preview.state}: {preview.message}"
    yield "hint", preview.hint
    yield "URL", preview.url
    yield "id", preview.id
    yield "commit", preview.sha
    yield "pull request", str(change.get("url", ""))
    yield "title", str(change.get("title", ""))
    yield "author", str(change.get("author", ""))
    for each in preview.told.get("blocked", []):
        yield "blocked", _blocked(each)
    yield "withheld", ", ".join(str(name) for name in preview.told.get("withheld", []))
    yield "warning", " ".join(str(warning) for warning in preview.told.get("warnings", []))


def _blocked(told: dict[str, object]) -> str:
    """One destination, how often it was tried, and the setting that opens it."""
    port = f" port {told['port']}" if told.get("port") else ""
    opens = f'; egress_allow: ["{told["opens"]}"] opens it' if told.get("opens") else ""
    return f"{told.get('address')}{port}/{told.get('protocol')}, {told.get('count')} times{opens}"
