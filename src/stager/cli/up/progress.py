"""Shows the progress of a preview: the build's log as it grows, and each change of the state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import typer

from stager.cli.up.terminal import Terminal
from stager.domain.status import State, Status

POLL_INTERVAL = 0.3
"""Seconds between two looks at the state, if no change is published before."""
MAX_LOG = 4_000
"""Characters of a log that are shown after a failure."""
BUILDING = "building: The preview is being built."
FAILED = (State.FAILED, State.FAILED_UPDATE)

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


def option_for(status: Status) -> str:
    """Return the sentence with the option that helps with a failure; empty for none."""
    slug, hint = status.reason, status.hint
    if slug == "build-failed" and "not found" in status.message:
        return NOT_FOUND
    # Without a hint of the server, the cause is unknown.
    if slug in ("build-failed", "exited") and not hint:
        return VALUES
    if slug == "exited" and hint.startswith("Check the last lines"):
        return VALUES
    return HINTS.get(slug, "")


@dataclass(frozen=True, slots=True)
class Preview:
    """A preview's current state.

    Args:
        id: of its environment.
        generation: the desired one.
        deployment: the id of the desired generation's deployment; empty before there is one.
        has_build: whether the build of the desired generation has begun, or is over.
    """

    id: str
    generation: int
    url: str
    status: Status
    deployment: str = ""
    has_build: bool = False


class Previews(Protocol):
    """Reads the only preview of an application."""

    async def changed(self, seconds: float) -> None:
        """Wait until it may have changed, or the time is over."""

    async def preview(self) -> Preview | None:
        """Return its current state; None when there is none."""

    def build_log(self, preview: Preview) -> AsyncIterator[str]:
        """Yield the lines of the newest build's log until the build ends."""

    async def log(self, preview: Preview) -> str:
        """Return the log of the deployment: its build log or the log of its instance."""


class Progress:
    """Shows one preview's progress.

    Args:
        default_command: what an image without a command of its own runs; empty for images with one.
        opens: whether to open the preview in the browser, once it is live.
    """

    def __init__(self, previews: Previews, terminal: Terminal, default_command: str, *, opens: bool) -> None:
        self._previews = previews
        self._terminal = terminal
        self._default_command = default_command
        self._opens = opens
        self._shown = ""
        self._streamed = ""

    async def follow(self, is_settled: asyncio.Event) -> None:
        """Show the progress until the task is cancelled.

        Args:
            is_settled: set once the preview is live or has failed.
        """
        while True:
            preview = await self._previews.preview()
            if preview is not None:
                await self._show(preview)
                if preview.status.settled:
                    is_settled.set()
            await self._previews.changed(POLL_INTERVAL)

    async def _show(self, preview: Preview) -> None:
        status = preview.status
        generation = f"{preview.id} {preview.generation}"
        if not status.settled:
            self._say(f"{status.state}: {status.message}")
        # A build from the cache may be over before the first look.
        if self._streamed != generation and preview.has_build:
            self._streamed = generation
            self._say(BUILDING)
            async for line in self._previews.build_log(preview):
                self._terminal.say(f"  {line}")
        if not status.settled:
            return
        lines = [f"{status.state}: {status.message}", status.hint]
        if status.state in FAILED:
            lines += await self._failure(preview, has_build_log=self._streamed == generation)
        else:
            lines.append(preview.url)
        self._say("\n".join(filter(None, lines)))
        if status.state is State.LIVE and self._opens:
            self._opens = False
            typer.launch(preview.url)

    def _say(self, text: str) -> None:
        if text != self._shown:
            self._shown = text
            self._terminal.say(text)

    async def _failure(self, preview: Preview, *, has_build_log: bool) -> list[str]:
        """Return what helps with a failure: the option, what was run, and the end of the log, unless it has
        been streamed."""
        slug = preview.status.reason
        ran = self._default_command if slug in ("exited", "start-failed") else ""
        what = f"The Dockerfile has no CMD, so the base image's command ran: {ran}" if ran else ""
        is_streamed = has_build_log and slug == "build-failed"
        log = "" if is_streamed else (await self._previews.log(preview))[-MAX_LOG:]
        return [option_for(preview.status), what, log]
