"""`stager wait`: waits until a preview is live, usually with a commit that CI has just pushed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import typer

from stager.cli.client.api.api import Api, Deployment, Preview
from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.api.resolve import find
from stager.cli.client.command import ClientCommand, EndpointOption, JsonOption, Which, server
from stager.cli.client.commands.launch import DEFAULT_TIMEOUT, Timeout
from stager.cli.client.commands.progress import GONE, Progress, failure, poll
from stager.cli.client.output import echo, echo_json

PAUSE = 2.0
"""Seconds between two polls for a preview that doesn't exist yet."""
CHECKS = "checks"
"""The reason of a preview that is launched once the commit's checks have passed."""
SHORTEST = 7
"""The shortest abbreviation of a commit's id."""


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command(cls=ClientCommand)(wait)


@dataclass(frozen=True, slots=True)
class Goal:
    """What to wait for.

    Args:
        sha: the expected commit, or the beginning of its id; empty for the current one.
        timeout: seconds.
        until: the end of the timeout, of the monotonic clock.
    """

    sha: str
    timeout: float
    until: float

    def missed(self, name: str, what: str) -> ClientError:
        """The error for an expired timeout."""
        message = f"{name} {what} after {self.timeout:g} s."
        return ClientError(message, hint="Use a longer --timeout.", code=Code.TIMEOUT)


def wait(
    which: Which,
    *,
    sha: Annotated[
        str, typer.Option("--sha", metavar="COMMIT", help="Wait for this commit (at least 7 digits).")
    ] = "",
    timeout: Timeout = DEFAULT_TIMEOUT,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Wait until a preview is live. Prints its URL.

    The preview needn't exist yet. The exit code is 1 when the deployment fails or a newer commit supersedes
    the expected one, 5 when the preview is removed, and 6 after the timeout.

    \b
    Example:
      stager wait shop my-branch --sha "$COMMIT" --timeout 600
    """
    goal = Goal(_checked(sha), timeout, time.monotonic() + timeout)
    with server(endpoint) as api, Progress(quiet=as_json).shown() as progress:
        preview = _wait_until_live(api, _wait_for_preview(api, which, goal, progress), goal, progress)
    if as_json:
        echo_json(preview.data)
    else:
        echo(preview.url)


def _checked(sha: str) -> str:
    is_one = SHORTEST <= len(sha) <= 64 and all(digit in "0123456789abcdef" for digit in sha.lower())
    if sha and not is_one:
        hint = f"Pass at least {SHORTEST} hex digits."
        raise ClientError(f'--sha must be a commit id, not "{sha}".', hint=hint, code=Code.USAGE)
    return sha.lower()


def _wait_for_preview(api: Api, which: Sequence[str], goal: Goal, progress: Progress) -> Preview:
    """Return the preview once it exists."""
    while True:
        try:
            return find(api, which)
        except ClientError as error:
            if not (error.is_transient or error.code is Code.NOT_FOUND):
                raise
            if time.monotonic() >= goal.until:
                raise goal.missed(" ".join(which), "doesn't exist") from error
        progress.stage("Waiting for the preview to be created")
        time.sleep(min(PAUSE, max(0.0, goal.until - time.monotonic())))


def _wait_until_live(api: Api, preview: Preview, goal: Goal, progress: Progress) -> Preview:
    """Return the preview once it serves the expected commit."""
    for found, stage in poll(api, preview.id, goal.until):
        if found.state == GONE:
            raise failure(api, found)
        if _serves(api, found, goal.sha):
            progress.stage(stage)
            return found
        if not found.sha.startswith(goal.sha):
            _check_not_superseded(api, found, goal.sha)
        elif found.is_settled and found.reason != CHECKS:
            raise failure(api, found)
        progress.stage(stage)
    raise goal.missed(preview.name, "isn't live" + (f" with {goal.sha[:SHORTEST]}" if goal.sha else ""))


def _serves(api: Api, preview: Preview, sha: str) -> bool:
    if not preview.serving:
        return False
    if not sha:
        return preview.serving >= preview.generation
    if preview.serving == preview.generation:
        return preview.sha.startswith(sha)
    return any(d.sha.startswith(sha) for d in _deployments(api, preview) if d.generation == preview.serving)


def _check_not_superseded(api: Api, preview: Preview, sha: str) -> None:
    """Raise `ClientError` when a newer commit has superseded the expected one, which will never be live."""
    wanted = [d for d in _deployments(api, preview) if d.sha.startswith(sha)]
    if wanted and all(d.generation < preview.generation for d in wanted):
        newer = preview.sha[:SHORTEST]
        raise ClientError(
            f"{preview.name} won't serve {sha[:SHORTEST]}: {newer} has superseded it.",
            hint=wanted[0].message,
            reason="superseded",
        )


def _deployments(api: Api, preview: Preview) -> list[Deployment]:
    with suppress(ClientError):
        return api.deployments(preview.id)
    return []
