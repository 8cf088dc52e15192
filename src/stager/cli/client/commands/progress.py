"""Follows a deployment and shows its progress: stages, the position in the build queue, the build log."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from stager.cli.client.api.api import Api, Preview
from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.output import console, note, plain
from stager.domain.errors import sentences

if TYPE_CHECKING:
    from rich.status import Status

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0
"""Seconds between two polls, increasing."""
GONE = "gone"
STAGES = {
    "queued": "Queued",
    "building": "Building the image",
    "starting": "Starting",
    "checking": "Waiting for the health check",
}
"""Descriptions of the phases of a deployment."""


class Progress:
    """Shows progress on standard error: one changing line on a terminal, a line per stage elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.is_quiet = quiet
        self._last = ""
        self._status: Status | None = None

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        """Show progress while the context is open."""
        terminal = console()
        with ExitStack() as stack:
            if terminal.is_terminal and not self.is_quiet:
                self._status = stack.enter_context(terminal.status("", spinner_style="none"))
            yield self
        self._status = None

    def stage(self, sentence: str) -> None:
        """Show the current stage."""
        if self.is_quiet or sentence == self._last:
            return
        self._last = sentence
        if self._status is not None:
            self._status.update(plain(sentence))
        else:
            note(f"· {sentence}")

    def line(self, text: str) -> None:
        """Show a line of the build log."""
        if self.is_quiet:
            return
        if self._status is not None:
            self._status.console.print(f"  {plain(text)}", style="dim", soft_wrap=True)
        else:
            note(f"  {text}")


def follow(api: Api, preview: Preview, timeout: float, progress: Progress) -> Preview:
    """Return the preview once it serves this generation or a newer one.

    Args:
        preview: the response to the launch.
        timeout: seconds.

    Raises:
        ClientError: the deployment failed, the preview was removed, or the timeout expired.
    """
    wanted, until = preview.generation, time.monotonic() + timeout
    with BuildLog(api, preview.id) as log:
        for found, stage in poll(api, preview.id, until):
            is_live = found.serving >= wanted
            if is_live or not found.is_settled:  # otherwise, the error has the message
                progress.stage(stage)
            log.show(found.state == "building" or stage == STAGES["building"], progress)
            if is_live:
                return found
            if found.is_settled:
                log.show(False, progress)
                raise failure(api, found, is_log_shown=log.is_shown)
    raise timed_out(timeout)


def poll(api: Api, id_: str, until: float) -> Iterator[tuple[Preview, str]]:
    """Poll the preview until the timeout; yields it with a description of its stage.

    Transient errors, such as a server that restarts, are retried."""
    pause = FIRST_PAUSE
    while True:
        try:
            yield _preview_and_stage(api, id_)
        except ClientError as error:
            if not error.is_transient or time.monotonic() >= until:
                raise
        if time.monotonic() >= until:
            return
        time.sleep(min(pause, max(0.0, until - time.monotonic())))
        pause = min(pause * 1.3, LONGEST_PAUSE)


def _preview_and_stage(api: Api, id_: str) -> tuple[Preview, str]:
    preview = api.preview(id_)
    if preview.is_settled:
        return preview, preview.message
    phase = next((d.phase for d in api.deployments(id_) if d.generation == preview.generation), "queued")
    stage = STAGES.get(phase, preview.message)
    is_waiting = "queue" in preview.message or "line" in preview.message or preview.reason
    return preview, preview.message if is_waiting else stage


def failure(api: Api, preview: Preview, *, is_log_shown: bool = False) -> ClientError:
    """The error for a failed deployment, with the last lines of the build log or the log.

    Args:
        is_log_shown: whether the user has seen the build log.
    """
    lines: list[str] = []
    with suppress(ClientError):
        if preview.reason == "build-failed":
            lines = [] if is_log_shown else api.build_log(preview.id)
        elif (
            preview.state == "failed"
        ):  # otherwise the log is that of the previous generation, which is still served
            lines = api.log(preview.id, 15)
    return ClientError(
        preview.message,
        hint=_advice(preview),
        code=Code.NOT_FOUND if preview.state == GONE else Code.FAILED,
        reason=preview.reason,
        lines=tuple(lines[-15:]),
    )


def _advice(preview: Preview) -> str:
    """The likely cause and what to do about it, as far as the server knows them."""
    return sentences(str(preview.failure.get("cause", "")), str(preview.failure.get("hint") or preview.hint))


def timed_out(timeout: float) -> ClientError:
    """The error for an expired timeout."""
    return ClientError(
        f"The preview isn't live after {timeout:g} s. The server continues the deployment.",
        hint="`stager show` shows its status. Use a longer --timeout to wait longer.",
        code=Code.TIMEOUT,
    )


class BuildLog:
    """Reads a preview's build log in a daemon thread."""

    def __init__(self, api: Api, id_: str) -> None:
        self._api = api
        self._id = id_
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.is_shown = False

    def __enter__(self) -> BuildLog:
        return self

    def __exit__(self, *_: object) -> None:
        """Don't wait: the thread is a daemon."""

    def show(self, is_building: bool, progress: Progress) -> None:
        """Show new lines. Starts to read the log once a build runs."""
        if is_building and self._thread is None:
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()
        if not is_building and self._thread is not None:
            self._thread.join(1.0)
        while not self._lines.empty():
            progress.line(self._lines.get())
            self.is_shown = not progress.is_quiet

    def _read(self) -> None:
        with suppress(Exception), self._api.follow_build(self._id) as lines:
            for line in lines:
                self._lines.put(line)
