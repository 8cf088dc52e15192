"""`stager sleep` and `wake`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from stager.cli.client.api.api import Api, Preview
from stager.cli.client.api.errors import ClientError
from stager.cli.client.api.resolve import find
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, Which, server
from stager.cli.client.commands.progress import failure, poll, timed_out
from stager.cli.client.output import echo, echo_json, note

REFUSED_WITHIN = 1.0
"""Seconds in which the server notices that a request to the preview is open."""
WAKE_TIMEOUT = 300.0
"""Seconds: the default `start_timeout`, which a preview that was stopped asleep has."""

Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="How long to wait.")]


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for command in (sleep, wake):
        app.command(cls=ClientCommand)(command)


def sleep(which: Which, endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Put a preview to sleep until the next visit.

    It stays awake while a request to it is open.

    \b
    Example:
      stager sleep shop my-branch
    """
    with server(endpoint) as api:
        preview = api.sleep(find(api, which).id)
        for found, _ in poll(api, preview.id, time.monotonic() + REFUSED_WITHIN):
            if found.state != "asleep":
                raise ClientError(
                    f"{found.name} stays awake, because a request to it is open.",
                    hint="Close its pages, then try again.",
                )
        if as_json:
            echo_json(preview.data)
        else:
            note(f"{preview.name} is asleep. The next visit wakes it.")


def wake(
    which: Which,
    timeout: Timeout = WAKE_TIMEOUT,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Wake a preview, and wait until it serves.

    \b
    Example:
      stager wake shop my-branch
    """
    with server(endpoint) as api:
        preview = _awake(api, api.wake(find(api, which).id).id, timeout)
        if as_json:
            echo_json(preview.data)
        else:
            echo(preview.url)


def _awake(api: Api, id_: str, timeout: float) -> Preview:
    """The preview once it no longer sleeps.

    Raises:
        ClientError: it doesn't wake in time, or not at all.
    """
    for found, _ in poll(api, id_, time.monotonic() + timeout):
        if found.state in ("asleep", "waking"):
            continue
        if not found.serving:
            raise failure(api, found)
        return found
    raise timed_out(timeout)
