"""Follows a launch until it is over, and shows how it goes: stages, the place in the line, the build's
log."""

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

if TYPE_CHECKING:
    from rich.status import Status

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0
"""Seconds between two looks: few at first, when things move."""
GONE = "gone"
STAGES = {
    "queued": "Queued",
    "building": "Building its image",
    "starting": "Starting",
    "checking": "Waiting for its first answer",
}
"""What a deployment does in each of its phases, in words."""


class Progress:
    """Says on standard error how it goes: one line that changes on a terminal, many lines elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._last = ""
        self._status: Status | None = None

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        """While this lasts, there is something to see."""
        screen = console()
        with ExitStack() as stack:
            if screen.is_terminal and not self._quiet:
                self._status = stack.enter_context(screen.status("", spinner_style="none"))
            yield self
        self._status = None

    def stage(self, sentence: str) -> None:
        """Where it stands."""
        if self._quiet or sentence == self._last:
            return
        self._last = sentence
        if self._status is not None:
            self._status.update(plain(sentence))
        else:
            note(f"· {sentence}")

    def line(self, text: str) -> None:
        """Something that the build said."""
        if self._quiet:
            return
        if self._status is not None:
            self._status.console.print(f"  {plain(text)}", style="dim", soft_wrap=True)
        else:
            note(f"  {text}")


def follow(api: Api, preview: Preview, timeout: float, progress: Progress) -> Preview:
    """The preview once it serves this generation or a newer one.

    Args:
        preview: as the launch was answered.
        timeout: seconds.

    Raises:
        ClientError: it failed, is gone, or isn't up in time.
    """
    wanted, until = preview.generation, time.monotonic() + timeout
    with BuildLog(api, preview.id) as log:
        for found, stage in looks(api, preview.id, until):
            progress.stage(stage)
            log.show(found.state == "building" or stage == STAGES["building"], progress)
            if found.serving >= wanted:
                return found
            if found.is_settled:
                log.show(False, progress)
                raise failure(api, found)
    raise too_late(timeout)


def looks(api: Api, id_: str, until: float) -> Iterator[tuple[Preview, str]]:
    """How the preview stands, again and again, each with what it is doing in words, until it is too late.
    A server that restarts meanwhile is waited for."""
    pause = FIRST_PAUSE
    while True:
        try:
            yield _look(api, id_)
        except ClientError as error:
            if not error.passes or time.monotonic() >= until:
                raise
        if time.monotonic() >= until:
            return
        time.sleep(min(pause, max(0.0, until - time.monotonic())))
        pause = min(pause * 1.3, LONGEST_PAUSE)


def _look(api: Api, id_: str) -> tuple[Preview, str]:
    preview = api.preview(id_)
    if preview.is_settled:
        return preview, preview.message
    phase = next((d.phase for d in api.deployments(id_) if d.generation == preview.generation), "queued")
    stage = STAGES.get(phase, preview.message)
    waits = "line" in preview.message or preview.reason
    return preview, preview.message if waits else stage


def failure(api: Api, preview: Preview) -> ClientError:
    """Why it isn't live, with the last lines of whatever tells more."""
    lines: list[str] = []
    with suppress(ClientError):
        if preview.reason == "build-failed":
            lines = api.build_log(preview.id)
        elif preview.state == "failed":  # else the log is of the older one, which goes on serving
            lines = api.log(preview.id, 15)
    return ClientError(
        preview.message,
        hint=preview.hint,
        code=Code.NOT_FOUND if preview.state == GONE else Code.FAILED,
        reason=preview.reason,
        lines=tuple(lines[-15:]),
    )


def too_late(timeout: float) -> ClientError:
    """It isn't waited for any more."""
    return ClientError(
        f"It isn't up after {timeout:g} s; the server goes on by itself.",
        hint="`stager show` tells how it stands, --timeout waits for longer.",
        code=Code.TIMEOUT,
    )


class BuildLog:
    """The log of a preview's build, read beside the looks, in a thread that ends with it or with us."""

    def __init__(self, api: Api, id_: str) -> None:
        self._api = api
        self._id = id_
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> BuildLog:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to wait for: the thread is a daemon."""

    def show(self, is_building: bool, progress: Progress) -> None:
        """What was said since the last time; begins to listen once there is a build."""
        if is_building and self._thread is None:
            self._thread = threading.Thread(target=self._listen, daemon=True)
            self._thread.start()
        if not is_building and self._thread is not None:
            self._thread.join(1.0)
        while not self._lines.empty():
            progress.line(self._lines.get())

    def _listen(self) -> None:
        with suppress(Exception), self._api.follow_build(self._id) as lines:
            for line in lines:
                self._lines.put(line)
