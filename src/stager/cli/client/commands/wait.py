"""`stager wait`: until a preview serves what it should, which is mostly a commit that CI has just pushed."""

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
from stager.cli.client.commands.launch import PATIENCE, Timeout
from stager.cli.client.commands.progress import GONE, Progress, failure, looks
from stager.cli.client.output import say, say_json

PAUSE = 2.0
"""Seconds between two looks for a preview that isn't there yet."""
CHECKS = "checks"
"""The reason of a preview that waits for checks to pass, and then comes by itself."""
SHORTEST = 7
"""Digits of a commit's id that are enough, as everywhere."""


def mount(app: typer.Typer) -> None:
    """Add this command."""
    app.command(cls=ClientCommand)(wait)


@dataclass(frozen=True, slots=True)
class Goal:
    """What is waited for.

    Args:
        sha: the commit to be served, or the beginning of its id; empty for whatever should be.
        timeout: seconds.
        until: the clock's time when it isn't waited for any more.
    """

    sha: str
    timeout: float
    until: float

    def missed(self, name: str, what: str) -> ClientError:
        """It took too long."""
        message = f"{name} {what} after {self.timeout:g} s."
        return ClientError(message, hint="--timeout waits for longer.", code=Code.TIMEOUT)


def wait(
    which: Which,
    *,
    sha: Annotated[
        str, typer.Option("--sha", metavar="COMMIT", help="Until this very commit is live; 7 digits do.")
    ] = "",
    timeout: Timeout = PATIENCE,
    endpoint: EndpointOption = "",
    as_json: JsonOption = False,
) -> None:
    """Wait until a preview is live. Prints its URL.

    The preview needn't exist yet. The exit code is 1 when the deployment fails or a newer commit supersedes
    the expected one, 5 when the preview is removed, and 6 after the timeout.
    """
    goal = Goal(_checked(sha), timeout, time.monotonic() + timeout)
    with server(endpoint) as api, Progress(quiet=as_json).shown() as progress:
        preview = _settled(api, _awaited(api, which, goal, progress), goal, progress)
    if as_json:
        say_json(preview.told)
    else:
        say(preview.url)


def _checked(sha: str) -> str:
    is_one = SHORTEST <= len(sha) <= 64 and all(digit in "0123456789abcdef" for digit in sha.lower())
    if sha and not is_one:
        hint = f"At least {SHORTEST} digits of it."
        raise ClientError(f'--sha should be a commit\'s id, not "{sha}".', hint=hint, code=Code.USAGE)
    return sha.lower()


def _awaited(api: Api, which: Sequence[str], goal: Goal, progress: Progress) -> Preview:
    """The preview, once there is one."""
    while True:
        try:
            return find(api, which)
        except ClientError as error:
            if not (error.passes or error.code is Code.NOT_FOUND):
                raise
            if time.monotonic() >= goal.until:
                raise goal.missed(" ".join(which), "isn't there") from error
        progress.stage("There is no such preview yet")
        time.sleep(min(PAUSE, max(0.0, goal.until - time.monotonic())))


def _settled(api: Api, preview: Preview, goal: Goal, progress: Progress) -> Preview:
    """The preview once it serves what is waited for."""
    for found, stage in looks(api, preview.id, goal.until):
        progress.stage(stage)
        if found.state == GONE:
            raise failure(api, found)
        if _serves(api, found, goal.sha):
            return found
        if not found.sha.startswith(goal.sha):
            _check_not_overtaken(api, found, goal.sha)
        elif found.is_settled and found.reason != CHECKS:
            raise failure(api, found)
    raise goal.missed(preview.name, "isn't live" + (f" with {goal.sha[:SHORTEST]}" if goal.sha else ""))


def _serves(api: Api, preview: Preview, sha: str) -> bool:
    if not preview.serving:
        return False
    if not sha:
        return preview.serving >= preview.generation
    if preview.serving == preview.generation:
        return preview.sha.startswith(sha)
    return any(d.sha.startswith(sha) for d in _deployments(api, preview) if d.generation == preview.serving)


def _check_not_overtaken(api: Api, preview: Preview, sha: str) -> None:
    """Raise when this commit was wanted once, and something newer is by now: it will never be live."""
    wanted = [d for d in _deployments(api, preview) if d.sha.startswith(sha)]
    if wanted and all(d.generation < preview.generation for d in wanted):
        newer = preview.sha[:SHORTEST]
        raise ClientError(
            f"{preview.name} doesn't serve {sha[:SHORTEST]}, and won't: it is to serve {newer}.",
            hint=wanted[0].message,
            reason="superseded",
        )


def _deployments(api: Api, preview: Preview) -> list[Deployment]:
    with suppress(ClientError):
        return api.deployments(preview.id)
    return []
