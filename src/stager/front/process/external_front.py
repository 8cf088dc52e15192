"""A front that `stager front` runs, such as one in a container of its own: it is used, and never started,
replaced or stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from stager.domain.errors import Fault, Retry
from stager.front.process.client import FrontClient, Hello, hello_of
from stager.front.process.launcher import FrontOptions
from stager.front.process.protocol import PROTOCOL
from stager.version import __version__

_START_SECONDS = 60.0
"""The front and the control plane may be started at the same moment."""
_POLL_SECONDS = 0.1
AWAY = "The front isn't running. It has to be started by `stager front`."


class ExternalFront:
    """Waits for the front of another process. The counterpart of `FrontLauncher`.

    Args:
        state_dir: the directory of the front's sockets.
        options: those that the front should have; a difference is reported.
        start_seconds: how long `ensure` waits.
    """

    def __init__(
        self, state_dir: Path, options: FrontOptions, *, start_seconds: float = _START_SECONDS
    ) -> None:
        self._state_dir = state_dir.absolute()
        self._settings = options.arguments(self._state_dir)
        self._start_seconds = start_seconds

    async def ensure(self) -> Hello:
        """Wait until a front answers that this version can control.

        Raises:
            Fault: there is none in this time.
        """
        deadline = time.monotonic() + self._start_seconds
        while (hello := await hello_of(self._state_dir)) is None or hello.protocol != PROTOCOL:
            if time.monotonic() > deadline:
                raise _unusable(hello, self._state_dir)
            await asyncio.sleep(_POLL_SECONDS)
        return hello

    async def keep(self, report: Callable[[str], None] = lambda _: None) -> None:
        """Report whether the front can be used, until cancelled.

        Args:
            report: called with what is wrong, a sentence, or with an empty string, at each change.
        """
        reported = ""
        while True:
            client = FrontClient(self._state_dir)
            try:
                problem = self._problem(await client.connect())
            except Retry:
                problem = AWAY
                await asyncio.sleep(_POLL_SECONDS)
            try:
                if problem != reported:
                    report(problem)
                    reported = problem
                if problem != AWAY:
                    await client.until_gone()
            finally:
                await client.close()

    def release(self) -> None:
        """Nothing is held: the front's own process has the listening sockets."""

    def _problem(self, hello: Hello) -> str:
        if hello.protocol != PROTOCOL:
            return f"{_of_another_version(hello)} Restart it with this version."
        if list(hello.settings) != self._settings:
            return "The front runs with settings of before the last change. Restart `stager front`."
        return ""


def _of_another_version(hello: Hello) -> str:
    return f"The front is of version {hello.version}, and Stager {__version__} can't control it."


def _unusable(hello: Hello | None, folder: Path) -> Fault:
    if hello is None:
        return Fault(
            AWAY, hint=f"Both need the same state_dir; the front's is {folder}.", reason="front-external"
        )
    return Fault(
        _of_another_version(hello), hint="Restart `stager front` with this version.", reason="front-external"
    )
