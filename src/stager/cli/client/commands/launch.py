"""`stager launch`, `kill`, `redeploy`, `rollback`, `reset`, `pin`, `extend` and `approve`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from stager.cli.client.api.api import Api, Preview
from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.api.resolve import find
from stager.cli.client.auth.browser import open_at, should_open
from stager.cli.client.command import ClientCommand, EndpointOption, Image, JsonOption, Name, Which, server
from stager.cli.client.commands.progress import GONE, Progress, follow, poll
from stager.cli.client.output import echo, echo_json, note

DEFAULT_TIMEOUT = 900.0
"""Seconds to wait for a launch, enough for a long build."""

Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="How long to wait.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done (the default).")]
Open = Annotated[
    bool | None,
    typer.Option(
        "--open/--no-open",
        help="Open the preview in a browser; by default on a terminal with a display.",
        show_default=False,
    ),
]


def mount(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for command in (launch, kill, redeploy, rollback, reset, pin, extend, approve):
        app.command(cls=ClientCommand)(command)


def launch(  # noqa: PLR0913 (the options of the command)
    image: Image,
    name: Name,
    *,
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="NAME=VALUE", help="An environment variable of the instance. Repeatable."
        ),
    ] = None,
    wait: Wait = True,
    timeout: Timeout = DEFAULT_TIMEOUT,
    browser: Open = None,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Launch or update a preview and print its URL.

    Waits until the preview is live, shows the position in the build queue, the build log and the start, and
    opens the preview in a browser. Ctrl-C stops waiting; the server continues.

    \b
    Examples:
      stager launch shop my-branch
      stager launch shop my-branch --set FEATURE_CART=on --no-wait
    """
    with server(endpoint) as api:
        name = find(api, [image, name]).name if "://" in name else name
        preview = api.launch(image, name, _pairs(parameters or []))
        _finish(api, preview, wait=wait, timeout=timeout, browser=browser, as_json=as_json)


def redeploy(
    which: Which,
    wait: Wait = True,
    timeout: Timeout = DEFAULT_TIMEOUT,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Redeploy a preview with its last parameters.

    \b
    Example:
      stager redeploy shop my-branch
    """
    with server(endpoint) as api:
        preview = api.redeploy(find(api, which).id)
        _finish(api, preview, wait=wait, timeout=timeout, browser=False, as_json=as_json)


def rollback(
    which: Which,
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="COMMIT|NUMBER",
            help="At least 7 digits of a commit's id, or the number of a deployment; by default the last "
            "revision that was live before the current one.",
        ),
    ] = "",
    wait: Wait = True,
    timeout: Timeout = DEFAULT_TIMEOUT,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Launch an earlier revision of a preview again.

    Nothing is built: it runs the images of that revision, with its services. Data in volumes that are kept
    stays as it is. The next push deploys the newest commit as usual.

    \b
    Examples:
      stager rollback shop my-branch
      stager rollback shop my-branch --to 1a2b3c4
    """
    with server(endpoint) as api:
        preview = api.roll_back(find(api, which).id, to)
        if not as_json:
            note(f"Rolling back to {preview.data.get('rolled_back_to', '')}.")
            if preview.data.get("data"):
                note(str(preview.data["data"]))
        _finish(api, preview, wait=wait, timeout=timeout, browser=False, as_json=as_json)


def reset(
    which: Which,
    wait: Wait = True,
    timeout: Timeout = DEFAULT_TIMEOUT,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Replace a preview's data by the current snapshot.

    Without a snapshot, volumes start empty. The old data is deleted once the new deployment is live.

    \b
    Example:
      stager reset shop my-branch
    """
    with server(endpoint) as api:
        preview = api.reset(find(api, which).id)
        _finish(api, preview, wait=wait, timeout=timeout, browser=False, as_json=as_json)


def pin(which: Which, endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Keep a preview: it never expires, and is never evicted in favour of another.

    `stager extend` removes the pin.

    \b
    Example:
      stager pin shop my-branch
    """
    with server(endpoint) as api:
        preview = api.pin(find(api, which).id)
    if as_json:
        echo_json(preview.data)
    else:
        note(f"{preview.name} is pinned.")


def extend(which: Which, endpoint: EndpointOption = "", as_json: JsonOption = False) -> None:
    """Count a preview as used now, so that it doesn't expire soon.

    Also removes a pin.

    \b
    Example:
      stager extend shop my-branch
    """
    with server(endpoint) as api:
        preview = api.extend(find(api, which).id)
    if as_json:
        echo_json(preview.data)
    else:
        note(f"{preview.name} counts as used now.")


def approve(
    sha: Annotated[str, typer.Argument(metavar="COMMIT", help="The full id of the reviewed commit.")],
    which: Which,
    *,
    wait: Wait = True,
    timeout: Timeout = DEFAULT_TIMEOUT,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Approve a commit of a pull request from a fork.

    Code from a fork doesn't run until its commit is approved: read it first. COMMIT is the full id (40 or 64
    hex digits) of the pull request's latest commit.

    \b
    Example:
      stager approve "$COMMIT" shop fix-typo
    """
    with server(endpoint) as api:
        preview = api.approve(find(api, which).id, sha)
        _finish(api, preview, wait=wait, timeout=timeout, browser=False, as_json=as_json)


def kill(
    which: Which,
    wait: Wait = True,
    timeout: Timeout = 60.0,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Remove a preview.

    Waits until the preview is no longer served. A pull request's preview is launched again by the next push,
    by reopening the pull request, or by `stager launch`.

    \b
    Examples:
      stager kill shop my-branch
      stager kill http://my-branch.demo.example.org
    """
    with server(endpoint) as api:
        preview = api.kill(find(api, which).id)
        if wait:
            preview = _wait_until_removed(api, preview, timeout)
        if as_json:
            echo_json(preview.data)
        else:
            note(f"{preview.name}: {preview.message}")


def _finish(
    api: Api, preview: Preview, *, wait: bool, timeout: float, browser: bool | None, as_json: bool
) -> None:
    """Wait for a deployment, and write the result."""
    started = time.monotonic()
    if wait:
        with Progress(quiet=as_json).shown() as progress:
            preview = _follow(api, preview, timeout, progress, as_json=as_json)
    if as_json:
        echo_json(preview.data)
        return
    note(f"Live after {time.monotonic() - started:.1f} s." if wait else preview.message)
    echo(preview.url)
    if wait and should_open(browser):
        open_at(preview.url)


def _follow(api: Api, preview: Preview, timeout: float, progress: Progress, *, as_json: bool) -> Preview:
    try:
        return follow(api, preview, timeout, progress)
    except ClientError:
        if as_json:
            echo_json(api.preview(preview.id).data)
        raise


def _wait_until_removed(api: Api, preview: Preview, timeout: float) -> Preview:
    """Return the preview once it isn't served. A pull request's preview remains in the list as stopped."""
    for found, _ in poll(api, preview.id, time.monotonic() + timeout):
        if found.state in (GONE, "stopped", "expired", "refused") and not found.serving:
            return found
    raise ClientError(
        f"The preview wasn't removed within {timeout:g} s. The server continues to remove it.",
        code=Code.TIMEOUT,
    )


def _pairs(parameters: list[str]) -> dict[str, str]:
    for given in parameters:
        if "=" not in given:
            raise ClientError(f'--set expects NAME=VALUE, not "{given}".', code=Code.USAGE)
    return {name: value for name, _, value in (given.partition("=") for given in parameters)}
