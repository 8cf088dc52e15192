"""`stager snapshot`: the data that new previews start from."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from stager.cli.client.api.api import Api, Json
from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.api.resolve import find
from stager.cli.client.command import ClientCommand, EndpointOption, Image, JsonOption, server
from stager.cli.client.commands.completion import images
from stager.cli.client.commands.progress import Progress
from stager.cli.client.lifetime import age
from stager.cli.client.output import ask, echo, echo_json, echo_table, is_interactive, local_time, note
from stager.domain.text import binary_size

DEFAULT_TIMEOUT = 3_600.0
PAUSE = 1.0
"""Seconds between two polls."""
PIECE = 1 << 20
"""Bytes that are read and sent at once."""
NEWEST = "newest"

Reference = Annotated[
    str,
    typer.Argument(metavar="SNAPSHOT", help="The snapshot: its number, name or id, or `current`."),
]

snapshot = typer.Typer(no_args_is_help=True, help="Manage the data that new previews start from.")


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(snapshot, name="snapshot", help="Manage the data that new previews start from.")


@snapshot.command(cls=ClientCommand)
def create(  # noqa: PLR0913 (the options of the command)
    image: Image,
    *,
    source: Annotated[
        str, typer.Option("--from", metavar="PREVIEW", help="Copy the volumes of this preview.")
    ] = "",
    run: Annotated[
        str,
        typer.Option("--run", metavar="COMMAND", help="Fill empty volumes with this shell command."),
    ] = "",
    dump: Annotated[
        str, typer.Option("--restore", metavar="DUMP", help="Load this dump; `-` for standard input.")
    ] = "",
    service: Annotated[
        str, typer.Option("--service", "-s", metavar="NAME", help="The service that a dump is loaded into.")
    ] = "database",
    branch: Annotated[
        str, typer.Option("--branch", metavar="NAME", help="The branch whose code runs the command.")
    ] = "",
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="A name. Snapshots with a name are never expired.")
    ] = "",
    forks: Annotated[
        bool | None, typer.Option("--forks/--no-forks", help="Whether code from forks gets clones of it.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is ready.")] = True,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait.")
    ] = DEFAULT_TIMEOUT,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Create a snapshot of an application's volumes.

    A preview whose volumes are copied is stopped for that time. A masking script of the configuration runs
    before the snapshot is ready. Ctrl-C stops waiting; the server continues.

    \b
    Examples:
      stager snapshot create shop --from staging --name before-the-sale
      stager snapshot create shop --restore shop.sql.gz
      stager snapshot create shop --run "bin/seed --large"
    """
    if sum(map(bool, (source, run, dump))) != 1:
        raise ClientError("Pass one of --from, --run and --restore.", code=Code.USAGE)
    with server(endpoint) as api:
        options = {"app": image, "name": name}
        if dump:
            allows = {} if forks is None else {"forks": str(forks).lower()}
            made = _restore(api, dump, {**options, **allows, "service": service}, quiet=as_json)
        else:
            preview = find(api, [image, source]).id if source else ""
            body = {**options, "preview": preview, "run": run, "branch": branch, "forks": forks}
            made = api.create_snapshot(body)
        if wait:
            made = _wait(api, made, timeout, quiet=as_json)
    _show(made, as_json=as_json)


@snapshot.command("list", cls=ClientCommand)
def list_(
    image: Annotated[
        str,
        typer.Argument(metavar="[IMAGE]", help="Only snapshots of this application.", autocompletion=images),
    ] = "",
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """List snapshots. The newest comes first.

    \b
    Example:
      stager snapshot list shop
    """
    with server(endpoint) as api:
        found = api.snapshots(image)
    if as_json:
        echo_json(found)
    elif not found:
        note("There are no snapshots.")
    else:
        headings = ("IMAGE", "#", "NAME", "STATE", "AGE", "SIZE", "MADE FROM", "MASKED")
        echo_table(headings, [_row(each) for each in found])


@snapshot.command(cls=ClientCommand)
def show(
    image: Image, reference: Reference, endpoint: EndpointOption = "", as_json: JsonOption = False
) -> None:
    """Show a snapshot.

    \b
    Example:
      stager snapshot show shop current
    """
    with server(endpoint) as api:
        found = _find(api, image, reference)
    _show(found, as_json=as_json)


@snapshot.command(cls=ClientCommand)
def use(
    image: Image,
    reference: Annotated[
        str,
        typer.Argument(
            metavar="SNAPSHOT", help="The snapshot: its number, name or id; `newest` for the newest one."
        ),
    ],
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Start new previews from this snapshot.

    It stays the current one when newer snapshots are created, until `stager snapshot use IMAGE newest`.

    \b
    Example:
      stager snapshot use shop 3
    """
    with server(endpoint) as api:
        if reference == NEWEST:
            found = api.use_newest_snapshot(_find(api, image, "current")["id"])
        else:
            found = api.use_snapshot(_find(api, image, reference)["id"])
    _show(found, as_json=as_json)


@snapshot.command(cls=ClientCommand)
def delete(
    image: Image,
    reference: Reference,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Delete a snapshot. Previews that were cloned from it keep their data.

    \b
    Example:
      stager snapshot delete shop 3 --yes
    """
    with server(endpoint) as api:
        found = _find(api, image, reference)
        if not yes:
            _confirm(found)
        api.delete_snapshot(found["id"])
    if as_json:
        echo_json(found)
    else:
        note(f"{_title(found)} is deleted.")


@snapshot.command(cls=ClientCommand)
def download(
    image: Image,
    reference: Reference,
    volume: Annotated[
        str, typer.Argument(metavar="[VOLUME]", help="The volume; may be omitted if there is only one.")
    ] = "",
    *,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write; `-` for standard output."),
    ] = "",
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Download a volume of a snapshot as a tar archive.

    \b
    Example:
      stager snapshot download shop current database-data --output data.tar
    """
    with server(endpoint) as api:
        found = _find(api, image, reference)
        name = volume or _only_volume(found)
        path = output or f"{image}-{found['number']}-{name}.tar"
        with api.download(found["id"], name) as pieces:
            size = _write(pieces, path)
    if as_json:
        echo_json({"file": path, "bytes": size})
    elif path != "-":
        note(f"{path}: {binary_size(size)}")


def _restore(api: Api, dump: str, query: dict[str, str], *, quiet: bool) -> Json:
    """Send a dump."""
    if dump == "-":
        return api.restore(_pieces(sys.stdin.buffer), {**query, "file_name": "dump.sql"})
    path = Path(dump)
    try:
        file = path.open("rb")
    except OSError as error:
        raise ClientError(f"{dump} can't be read: {error.strerror}.", code=Code.USAGE) from error
    with file, Progress(quiet=quiet).shown() as progress:
        size = os.fstat(file.fileno()).st_size
        pieces = _pieces(file, size, progress)
        return api.restore(pieces, {**query, "file_name": path.name})


def _pieces(file: BinaryIO, size: int = 0, progress: Progress | None = None) -> Iterator[bytes]:
    sent = 0
    while piece := file.read(PIECE):
        yield piece
        sent += len(piece)
        if size and progress is not None:
            progress.stage(f"Sending the dump: {10 * (sent * 10 // size)} % of {binary_size(size)}")


def _wait(api: Api, made: Json, timeout: float, *, quiet: bool) -> Json:
    """Return a snapshot once it isn't being made any more. Raises `ClientError` if it failed."""
    until = time.monotonic() + timeout
    with Progress(quiet=quiet).shown() as progress:
        while made["state"] == "making":
            if time.monotonic() >= until:
                raise ClientError(
                    f"The snapshot isn't ready after {timeout:g} s. The server continues.",
                    hint="`stager snapshot list` shows it.",
                    code=Code.TIMEOUT,
                )
            progress.stage(str(made.get("progress") or "Waiting"))
            time.sleep(PAUSE)
            try:
                made = api.snapshot(made["id"])
            except ClientError as error:
                if not error.is_transient:
                    raise
    if made["state"] != "ready":
        hint, reason = str(made.get("hint", "")), str(made.get("reason", ""))
        raise ClientError(
            str(made.get("message") or "The snapshot was deleted."),
            hint=hint,
            reason=reason,
            lines=tuple(map(str, made.get("lines", []))),
        )
    return made


def _find(api: Api, image: str, reference: str) -> Json:
    """Return the application's snapshot of this number, name or id; `current` is the current one."""
    found = api.snapshots(image)
    keys = ("number", "id", "name")
    matching = [s for s in found if reference in {str(s[key]) for key in keys}]
    if reference == "current" and not matching:
        matching = [s for s in found if s["is_current"]]
    if not matching:
        which = "no current snapshot" if reference == "current" else f'no snapshot "{reference}"'
        raise ClientError(
            f"{image} has {which}.",
            hint=f"`stager snapshot list {image}` shows all of them.",
            code=Code.NOT_FOUND,
        )
    return matching[0]


def _confirm(found: Json) -> None:
    if not is_interactive():
        raise ClientError(
            "There is no terminal to ask whether the snapshot should be deleted.",
            hint="Pass --yes.",
            code=Code.USAGE,
        )
    is_current = " New previews start from it." if found["is_current"] else ""
    answer = ask(f"Delete {_title(found)}, {_origin(found)}?{is_current} [y/N]")
    if answer.lower() not in ("y", "yes"):
        raise ClientError("Nothing was deleted.")


def _only_volume(found: Json) -> str:
    names = [str(each["volume"]) for each in found["volumes"]]
    if len(names) == 1:
        return names[0]
    raise ClientError(
        f"The snapshot has {len(names)} volumes.",
        hint=f"Pass one of them: {', '.join(names)}." if names else "",
        code=Code.USAGE,
    )


def _write(pieces: Iterator[bytes], path: str) -> int:
    """Write the pieces to a new file, or to standard output. Returns the number of bytes."""
    size = 0
    if path == "-":
        for piece in pieces:
            size += sys.stdout.buffer.write(piece)
        return size
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ClientError(f"{path} can't be created: {error.strerror}.", code=Code.USAGE) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                size += file.write(piece)
    except BaseException:
        Path(path).unlink()  # an incomplete archive must not look like a complete one
        raise
    return size


def _show(found: Json, *, as_json: bool) -> None:
    if as_json:
        echo_json(found)
        return
    for name, value in _facts(found):
        if value:
            echo(f"{name + ':':<12} {value}")
    if found["volumes"]:
        echo("")
        rows = [(str(v["volume"]), str(v["service"]), _size(v["size"])) for v in found["volumes"]]
        echo_table(("VOLUME", "SERVICE", "SIZE"), rows)


def _facts(found: Json) -> Iterator[tuple[str, str]]:
    yield "image", str(found["app"])
    yield "number", str(found["number"])
    yield "name", str(found["name"])
    yield "state", _state(found)
    yield "problem", " ".join(filter(None, (str(found["message"]), str(found["hint"]))))
    yield "id", str(found["id"])
    yield "made from", str(found["origin"])
    yield "commit", str(found["sha"])
    yield "images", ", ".join(f"{name}: {image or 'built'}" for name, image in found["images"].items())
    yield "created", f"{local_time(found['created_at'])} by {found['created_by']}"
    yield "masked", "yes" if found["is_masked"] else "no"
    yield "forks", "allowed" if found["forks_allowed"] else "not allowed"
    yield "clones", {"pool": "share its blocks", "copies": "are full copies"}.get(str(found["storage"]), "")


def _row(found: Json) -> tuple[str, ...]:
    return (
        str(found["app"]),
        str(found["number"]),
        str(found["name"]),
        _state(found),
        age(found["created_at"]),
        _size(found["size"]),
        str(found["origin"]),
        "yes" if found["is_masked"] else "no",
    )


def _state(found: Json) -> str:
    if found["is_current"]:
        return f"{found['state']}, current (chosen)" if found["is_chosen"] else f"{found['state']}, current"
    return str(found["state"])


def _size(size: Any) -> str:
    return "unknown" if size is None else binary_size(int(size))


def _title(found: Json) -> str:
    name = f' "{found["name"]}"' if found["name"] else ""
    return f"snapshot {found['number']}{name} of {found['app']}"


def _origin(found: Json) -> str:
    return f"made from {found['origin']} {age(found['created_at'])} ago"
