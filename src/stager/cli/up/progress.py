"""Shows the progress of a preview: the build's log as it grows, and each change of the state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import typer

from stager.cli.up.terminal import Terminal

POLL_INTERVAL, IDLE_INTERVAL = 0.03, 0.3
"""Seconds between two looks at the state, over a Unix socket: while something is in progress, and else."""
MAX_LOG = 4_000
"""Characters of a log that are shown after a failure."""
BUILDING = "building: The preview is being built."
IN_PROGRESS = ("starting", "building", "updating")
FAILED = ("failed", "failed-update")

HINTS = {
    "port-unknown": "Add --app-port with the port, such as --app-port 8000.",
    "port-ambiguous": "Choose one of them with --app-port.",
    "wrong-port": "Set the port with --app-port.",
    "not-listening": "If it listens on another port, set it with --app-port.",
    "dockerfile-missing": "Choose the Dockerfile with --dockerfile, and its folder with --context.",
}
"""Which option helps, by the reason of the failure."""

NOT_FOUND = "Choose the folder that is built with --context, and another Dockerfile with --dockerfile."
VALUES = "If a variable is missing, set it with --env NAME=VALUE or --env-file."


def option_for(environment: Mapping[str, Any]) -> str:
    """Return the sentence with the option that helps with a failure; empty for none."""
    slug = environment["reason"]
    if slug == "build-failed" and "not found" in environment["message"]:
        return NOT_FOUND
    # Without a hint of the server, the cause is unknown.
    if slug in ("build-failed", "exited") and not environment["hint"]:
        return VALUES
    if slug == "exited" and environment["hint"].startswith("Check the last lines"):
        return VALUES
    return HINTS.get(slug, "")


class ApplicationApi:
    """The server's API, for the only preview of an application.

    Args:
        client: connected and authenticated.
        name: the application's.
    """

    def __init__(self, client: httpx.AsyncClient, name: str) -> None:
        self._client = client
        self._name = name

    async def environment(self) -> dict[str, Any] | None:
        """Return the preview's current state; None when there is none."""
        answer = await self._client.get("/api/v1/environments", params={"app": self._name})
        found: list[dict[str, Any]] = answer.json() if answer.is_success else []
        return next(iter(found), None)

    async def newest_deployment(self, environment: str) -> dict[str, Any] | None:
        """Return the newest deployment; None when there is none."""
        answer = await self._client.get(f"{_path(environment)}/deployments")
        found: list[dict[str, Any]] = answer.json() if answer.is_success else []
        return next(iter(found), None)

    async def build_log(self, environment: str) -> AsyncIterator[str]:
        """Yield the lines of the newest build's log until the build ends."""
        path = f"{_path(environment)}/build-log"
        async with self._client.stream("GET", path, params={"follow": True}, timeout=None) as answer:
            if answer.is_success:
                async for line in answer.aiter_lines():
                    yield line

    async def log(self, environment: str, deployment: str) -> str:
        """Return the log of a deployment: its build log or the log of its instance."""
        answer = await self._client.get(f"{_path(environment)}/log", params={"deployment": deployment})
        return answer.text if answer.is_success else ""


def _path(environment: str) -> str:
    return f"/api/v1/environments/{environment}"


class Progress:
    """Shows one preview's progress.

    Args:
        default_command: what an image without a command of its own runs; empty for images with one.
        opens: whether to open the preview in the browser, once it is live.
    """

    def __init__(self, api: ApplicationApi, terminal: Terminal, default_command: str, *, opens: bool) -> None:
        self._api = api
        self._terminal = terminal
        self._default_command = default_command
        self._opens = opens
        self._shown = ""
        self._streamed = ""

    async def follow(self) -> None:
        """Show the progress until the task is cancelled."""
        while True:
            environment = await self._api.environment()
            if environment is not None:
                await self._show(environment)
            is_idle = environment is not None and environment["state"] not in IN_PROGRESS
            await asyncio.sleep(IDLE_INTERVAL if is_idle else POLL_INTERVAL)

    async def _show(self, environment: dict[str, Any]) -> None:
        state = environment["state"]
        generation = f"{environment['id']} {environment['generation']}"
        if state in IN_PROGRESS:
            self._say(f"{state}: {environment['message']}")
        if self._streamed != generation and await self._has_build(environment):
            self._streamed = generation
            self._say(BUILDING)
            await self._stream(environment["id"])
        if state in IN_PROGRESS:
            return
        lines = [f"{state}: {environment['message']}", environment["hint"]]
        if state in FAILED:
            lines += await self._failure(environment, has_build_log=self._streamed == generation)
        else:
            lines.append(environment["url"])
        self._say("\n".join(filter(None, lines)))
        if state == "live" and self._opens:
            self._opens = False
            typer.launch(environment["url"])

    async def _has_build(self, environment: dict[str, Any]) -> bool:
        """Whether the build of the wanted generation has begun, or is over: one from the cache may be over
        before the server answers the first request."""
        newest = await self._api.newest_deployment(environment["id"])
        return bool(newest and newest["generation"] == environment["generation"] and newest["building_at"])

    def _say(self, text: str) -> None:
        if text != self._shown:
            self._shown = text
            self._terminal.say(text)

    async def _stream(self, environment: str) -> None:
        """Print the build's log until the build ends."""
        async for line in self._api.build_log(environment):
            self._terminal.say(f"  {line}")

    async def _failure(self, environment: dict[str, Any], *, has_build_log: bool) -> list[str]:
        """Return what helps with a failure: the option, what was run, and the end of the log, unless it has
        been streamed."""
        slug = environment["reason"]
        ran = self._default_command if slug in ("exited", "start-failed") else ""
        what = f"The Dockerfile has no CMD, so the base image's command ran: {ran}" if ran else ""
        is_streamed = has_build_log and slug == "build-failed"
        log = "" if is_streamed else await self._log_tail(environment["id"])
        return [option_for(environment), what, log]

    async def _log_tail(self, environment: str) -> str:
        """Return the end of the log of the failed deployment."""
        newest = await self._api.newest_deployment(environment)
        return (await self._api.log(environment, newest["id"]))[-MAX_LOG:] if newest else ""
