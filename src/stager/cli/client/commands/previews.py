"""`stager list`, `stager show` and `stager open`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from stager.cli.client.api.api import Preview
from stager.cli.client.api.errors import ClientError
from stager.cli.client.api.resolve import find
from stager.cli.client.auth.browser import open_at
from stager.cli.client.columns import Column
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, Which, server
from stager.cli.client.commands.completion import images
from stager.cli.client.lifetime import age
from stager.cli.client.output import echo, echo_columns, echo_json, echo_table, local_time, note
from stager.domain.text import binary_size

SERVICES = "SERVICES"
READY = ("healthy", "completed")

COLUMNS = (
    Column("IMAGE", rank=1, max_width=24),
    Column("NAME", max_width=32, can_shrink=True),
    Column("STATE"),
    Column("AGE", rank=2),
    Column("PR", rank=3),
    Column("TITLE", rank=4, max_width=40),
    Column("AUTHOR", rank=5, max_width=20),
    Column("COMMIT", rank=6),
    Column(SERVICES, rank=7),
    Column("ID", rank=8),
    Column("URL"),
)
"""The columns of the list. URLs are never cut, so that a terminal makes links of them."""


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
    """List previews. The oldest comes first.

    In a narrow terminal, less important columns are left out; `stager show` has everything.

    \b
    Examples:
      stager list --app shop
      stager list --json | jq -r '.[].url'
    """
    with server(endpoint) as api:
        found = api.previews(app, gone=gone)
    if as_json:
        echo_json([preview.data for preview in found])
    elif not found:
        note("There are no previews.")
    else:
        columns, rows = _with_services(found, [_row(preview) for preview in found])
        echo_columns(columns, rows)


def show(
    which: Which,
    *,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Also the sizes of its volumes, which takes seconds.")
    ] = False,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show a preview's status, services and deployments.

    With --json: the preview as in the API, with `deployments`, and with `sizes` if --volumes is given.

    \b
    Examples:
      stager show shop my-branch
      stager show my-branch --volumes
    """
    with server(endpoint) as api:
        preview = find(api, which)
        deployments = api.deployments(preview.id)
        data = api.data(preview.id) if any(each.get("volumes") for each in preview.services) else {}
        sizes = api.volumes(preview.id) if volumes else None
    if as_json:
        listed = {} if sizes is None else {"sizes": sizes}
        shown = {"deployments": [d.data for d in deployments], "data": data or None}
        echo_json({**preview.data, **shown, **listed})
        return
    for name, value in (*_facts(preview), *_data(data)):
        if value:
            echo(f"{name + ':':<12} {value}")
    if len(preview.services) > 1:
        echo("")
        headings = ("SERVICE", "STATE", "IMAGE", "VOLUMES", "URL", "MESSAGE")
        echo_table(headings, [_service(each) for each in preview.services])
    if sizes is not None:
        echo("")
        _echo_volumes(sizes)
    if preview.data.get("findings"):
        echo("")
        for line in preview.data["findings"]:
            echo(str(line))
    if deployments:
        echo("")
        rows = [
            (str(d.generation), d.phase, d.sha[:7], local_time(d.data.get("created_at")), d.message)
            for d in deployments
        ]
        echo_table(("#", "PHASE", "COMMIT", "CREATED", "MESSAGE"), rows)


def open_(which: Which, endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Open a preview in the browser. Also prints its URL.

    \b
    Example:
      stager open shop my-branch
    """
    with server(endpoint) as api:
        preview = find(api, which)
    if as_json:
        echo_json(preview.data)
    else:
        echo(preview.url)
    if not open_at(preview.url):
        raise ClientError("No browser could be opened.", hint="Open the URL above, or set BROWSER.")


def _row(preview: Preview) -> tuple[str, ...]:
    change = preview.data.get("change") or {}
    return (
        preview.app,
        preview.name,
        _state(preview),
        age(preview.data.get("created_at")),
        preview.pull_request,
        str(change.get("title", "")),
        str(change.get("author", "")),
        preview.sha[:7],
        _ready(preview),
        preview.id,
        preview.url,
    )


def _state(preview: Preview) -> str:
    """Its state, with the place in the queue of one that waits for room."""
    place = preview.data.get("place")
    return f"{preview.state} (place {place})" if place else preview.state


def _ready(preview: Preview) -> str:
    """How many of several services are ready, such as `3/4`."""
    services = preview.services
    ready = sum(each.get("state") in READY for each in services)
    return f"{ready}/{len(services)}" if len(services) > 1 else ""


def _with_services(
    previews: Sequence[Preview], rows: Sequence[tuple[str, ...]]
) -> tuple[Sequence[Column], Sequence[tuple[str, ...]]]:
    """The table, without the column of services if each preview has one only."""
    if any(len(preview.services) > 1 for preview in previews):
        return COLUMNS, rows
    kept = [i for i, column in enumerate(COLUMNS) if column.heading != SERVICES]
    return [COLUMNS[i] for i in kept], [tuple(row[i] for i in kept) for row in rows]


def _service(service: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of the table of services."""
    name, state, url, message = (str(service.get(key, "")) for key in ("name", "state", "url", "message"))
    image = str(service.get("image") or ("built" if service.get("is_built") else ""))
    volumes = ", ".join(str(each) for each in service.get("volumes") or ())
    return name, state, image, volumes, url, message


def _echo_volumes(volumes: Sequence[Mapping[str, Any]]) -> None:
    if not volumes:
        note("There are no volumes yet.")
        return
    rows = [
        (
            str(each.get("name", "")),
            "unknown" if each.get("size") is None else binary_size(int(each["size"])),
            ", ".join(str(name) for name in each.get("services") or ()),
            f"for deployment {each['generation']}" if each.get("generation") else "for the preview's life",
        )
        for each in volumes
    ]
    echo_table(("VOLUME", "SIZE", "SERVICES", "KEPT"), rows)


def _facts(preview: Preview) -> Iterator[tuple[str, str]]:
    change = preview.data.get("change") or {}
    yield "image", preview.app
    yield "name", preview.name
    yield "state", f"{preview.state}: {preview.message}"
    yield "failed in", _stage(preview.failure)
    yield "cause", str(preview.failure.get("cause", ""))
    yield "hint", str(preview.failure.get("hint") or preview.hint)
    yield "URL", preview.url
    yield "id", preview.id
    yield "commit", preview.sha
    yield "expires", local_time(preview.data.get("expires_at"))
    yield "pinned", "yes" if preview.data.get("is_pinned") else ""
    yield "pull request", str(change.get("url", ""))
    yield "title", str(change.get("title", ""))
    yield "author", str(change.get("author", ""))
    for each in preview.data.get("blocked", []):
        yield "blocked", _blocked(each)
    yield "withheld", ", ".join(str(name) for name in preview.data.get("withheld", []))
    yield "warning", " ".join(str(warning) for warning in preview.data.get("warnings", []))


def _stage(failure: Mapping[str, Any]) -> str:
    """The stage, service and code of a failure; empty if there is none."""
    if not failure:
        return ""
    service = f", service {failure['service']}" if failure.get("service") else ""
    return f"{failure.get('stage', '')}{service} ({failure.get('code', '')})"


def _data(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What each cloned volume started from, and why others started empty."""
    for volume in data.get("volumes", []):
        if volume.get("snapshot"):
            yield "data", f"{volume['volume']}: {_origin(volume)}"
    for reason in data.get("notes", []):
        yield "data", str(reason)


def _origin(volume: Mapping[str, Any]) -> str:
    if not volume.get("number"):
        return "a snapshot that was deleted since"
    name = f' "{volume["name"]}"' if volume.get("name") else ""
    made = f"snapshot {volume['number']}{name}, {age(volume.get('snapshot_created_at'))} old"
    changed = volume.get("changed")
    return made if changed is None else f"{made}, {binary_size(int(changed))} changed since"


def _blocked(attempt: dict[str, object]) -> str:
    """A blocked destination, the number of attempts, and the setting that allows it."""
    port = f" port {attempt['port']}" if attempt.get("port") else ""
    entry = attempt.get("egress_allow")
    hint = f'; egress_allow: ["{entry}"] allows it' if entry else ""
    return f"{attempt.get('address')}{port}/{attempt.get('protocol')}, {attempt.get('count')} times{hint}"
