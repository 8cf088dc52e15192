"""`stager list`, `stager show` and `stager open`."""

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
from stager.cli.client.output import echo, echo_json, echo_table, note


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("list", cls=ClientCommand)(list_)
    app.command(cls=ClientCommand)(show)
    app.command("open", cls=ClientCommand)(open_)


def list_(
    app: Annotated[
        str,
        typer.Option(
            "--app", "-a", metavar="IMAGE", help="Only previews of this application.", autocompletion=images
        ),
    ] = "",
    gone: Annotated[bool, typer.Option("--gone", help="Include removed previews.")] = False,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """List previews. The oldest comes first."""
    with server(endpoint) as api:
        found = api.previews(app, gone=gone)
    if as_json:
        echo_json([preview.data for preview in found])
    elif not found:
        note("There are no previews.")
    else:
        rows = [(p.app, p.name, p.state, p.pull_request, p.sha[:7], p.id, p.url) for p in found]
        echo_table(("IMAGE", "NAME", "STATE", "PR", "COMMIT", "ID", "URL"), rows)


def show(which: Which, endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Show a preview's status and deployments."""
    with server(endpoint) as api:
        preview = find(api, which)
        deployments = api.deployments(preview.id)
    if as_json:
        echo_json({**preview.data, "deployments": [d.data for d in deployments]})
        return
    for name, value in _facts(preview):
        if value:
            echo(f"{name + ':':<12} {value}")
    if deployments:
        echo("")
        rows = [
            (str(d.generation), d.phase, d.sha[:7], local_time(d.data.get("created_at")), d.message)
            for d in deployments
        ]
        echo_table(("#", "PHASE", "COMMIT", "CREATED", "MESSAGE"), rows)


def open_(which: Which, endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Open a preview in the browser. Also prints its URL."""
    with server(endpoint) as api:
        preview = find(api, which)
    if as_json:
        echo_json(preview.data)
    else:
        echo(preview.url)
    if not open_at(preview.url):
        raise ClientError("No browser could be opened.", hint="Open the URL above, or set BROWSER.")


def local_time(text: object) -> str:
    """Format a time of the API in the local time zone."""
    try:
        return datetime.fromisoformat(str(text)).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return ""


def _facts(preview: Preview) -> Iterator[tuple[str, str]]:
    change = preview.data.get("change") or {}
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
    for each in preview.data.get("blocked", []):
        yield "blocked", _blocked(each)
    yield "withheld", ", ".join(str(name) for name in preview.data.get("withheld", []))
    yield "warning", " ".join(str(warning) for warning in preview.data.get("warnings", []))


def _blocked(attempt: dict[str, object]) -> str:
    """A blocked destination, the number of attempts, and the setting that allows it."""
    port = f" port {attempt['port']}" if attempt.get("port") else ""
    entry = attempt.get("egress_allow")
    hint = f'; egress_allow: ["{entry}"] allows it' if entry else ""
    return f"{attempt.get('address')}{port}/{attempt.get('protocol')}, {attempt.get('count')} times{hint}"
