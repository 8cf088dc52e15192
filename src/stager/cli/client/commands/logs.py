"""`stager logs`: the log of a preview or of its build."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Annotated

import typer

from stager.cli.client.api.resolve import find
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, ServiceOption, Which, server
from stager.cli.client.output import echo, echo_json, note

LINES = 200


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command(cls=ClientCommand)(logs)


def logs(
    which: Which,
    *,
    build: Annotated[bool, typer.Option("--build", "-b", help="Show the log of the latest build.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until Ctrl-C.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=5_000, metavar="N", help="Number of lines.")
    ] = LINES,
    service: ServiceOption = "",
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show the log of a preview or of its build.

    Prints the last lines of the instance's output; when no instance runs, those of the last one. --follow
    continues with the new instance when the preview is updated. With --json, the output is a list of lines,
    or one JSON string per line with --follow.

    \b
    Examples:
      stager logs shop my-branch --follow
      stager logs shop my-branch --build
      stager logs shop my-branch --service worker
    """
    with server(endpoint) as api:
        preview = find(api, which)
        if follow:
            following = (
                api.follow_build(preview.id, service) if build else api.follow_log(preview.id, lines, service)
            )
            _follow(following, as_json=as_json)
        elif build:
            _show(api.build_log(preview.id, service)[-lines:], as_json=as_json)
        else:
            _show(api.log(preview.id, lines, service), as_json=as_json)


def _follow(following: AbstractContextManager[Iterator[str]], *, as_json: bool) -> None:
    with following as log:
        for line in log:
            if as_json:
                echo_json(line)
            else:
                echo(line)


def _show(lines: list[str], *, as_json: bool) -> None:
    if as_json:
        echo_json(lines)
    elif not lines:
        note("The log is empty.")
    else:
        for line in lines:
            echo(line)
