"""How the control plane has a front: finds the one that runs, starts one when there is none, and keeps it
running.

The front is nobody's child in anything but name. It has its own session, its own log and no open pipe, so
that the end of the control plane, however sudden, is not the end of the front.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from stager.domain.errors import Fault, Retry, StagerError
from stager.front.http import limits
from stager.front.http.limits import Limits
from stager.front.process.client import FrontClient, Hello
from stager.front.process.control_socket import PROTOCOL
from stager.front.process.sockets import Listener, request_listeners
from stager.front.proxy.connections import LOOPBACK, NO_PROXIES
from stager.version import __version__

_START_SECONDS = 15.0
_LOOK_SECONDS = 0.02
_LIVED_WELL_SECONDS = 5.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class FrontOptions:
    """How the front is to run, as in `python -m stager.front --help`. One that runs otherwise is replaced.

    Args:
        trusted_proxies: networks; an empty tuple trusts no proxy at all.
    """

    listen: str = "127.0.0.1:8000"
    tls_listen: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    trusted_proxies: tuple[str, ...] = LOOPBACK
    access_log: bool = True
    limits: Limits = field(default_factory=Limits)

    def arguments(self, state_dir: Path) -> list[str]:
        """The command line."""
        named = {
            "--tls-listen": self.tls_listen,
            "--tls-certificate": self.tls_certificate,
            "--tls-key": self.tls_key,
            "--state-dir": str(state_dir),
        }
        given = [f"--listen={self.listen}", *(f"{name}={value}" for name, value in named.items() if value)]
        given += [f"--trusted-proxy={network}" for network in self.trusted_proxies] or [NO_PROXIES]
        given += [] if self.access_log else ["--no-access-log"]
        return given + limits.to_arguments(self.limits)


class FrontLauncher:
    """Sees to it that a front runs.

    Args:
        state_dir: where the front keeps its table, log and sockets.
        options: how it is to run.
        python: the interpreter to run it with.
    """

    def __init__(
        self, state_dir: Path, options: FrontOptions | None = None, *, python: str = sys.executable
    ) -> None:
        self._state_dir = state_dir.absolute()
        self._settings = (options or FrontOptions()).arguments(self._state_dir)
        self._python = python
        self._held: list[Listener] = []
        self._stopping = asyncio.Event()

    async def ensure(self) -> Hello:
        """Have a front that runs as wanted: this very one, or a successor of one that doesn't, or a new one.

        Raises:
            Fault: it doesn't start; the detail has its last words.
            Retry: it started, and was gone again.
        """
        hello = await self._greet()
        if hello is None:
            hello = await self._start([*self._settings, *self._inherited()])
        elif not self._suits(hello):
            hello = await self._start([*self._settings, "--take-over"], predecessor=hello.pid)
        try:
            await self._hold()
        except OSError as error:
            raise Retry("The front went away as soon as it was there.", reason="front-away") from error
        return hello

    async def keep(self, report: Callable[[str], None] = lambda _: None) -> None:
        """Whenever the front goes away, have it again; until cancelled, or told to `stop`.

        Args:
            report: is told why it doesn't start, each time; nothing once it has.
        """
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            since = time.monotonic()
            await self._until_gone()
            if self._stopping.is_set():
                return
            if time.monotonic() - since < _LIVED_WELL_SECONDS:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE
            # What is wrong may be over by the next try.
            try:
                await self.ensure()
            except (StagerError, OSError) as error:
                report(str(error))
            else:
                report("")

    async def stop(self, timeout: float | None = None) -> None:
        """End the front, and wait until it is gone. Afterwards nobody listens any more."""
        self._stopping.set()
        self.release()
        client = FrontClient(self._state_dir)
        try:
            await client.stop(timeout)
            await self._until_gone()
        except Retry:
            return
        finally:
            await client.close()

    def release(self) -> None:
        """Let go of the listening sockets, as before leaving the front on its own."""
        for listener in self._held:
            listener.socket.close()
        self._held = []

    async def _greet(self) -> Hello | None:
        client = FrontClient(self._state_dir)
        try:
            return await client.connect()
        except Retry:
            return None
        finally:
            await client.close()

    def _suits(self, hello: Hello) -> bool:
        return (hello.protocol, hello.version, list(hello.settings)) == (
            PROTOCOL,
            __version__,
            self._settings,
        )

    async def _start(self, arguments: list[str], predecessor: int | None = None) -> Hello:
        """Start a process, and wait until it is the one that answers."""
        log = self._state_dir / "front.log"
        begin, process = await asyncio.to_thread(self._spawn, log, arguments)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            hello = await self._greet()
            if hello is not None and hello.pid not in {predecessor, None}:
                return hello
            if process.poll() is not None:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        raise _not_started(log, begin)

    def _spawn(self, log: Path, arguments: list[str]) -> tuple[int, subprocess.Popen[bytes]]:
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with log.open("ab") as file:
            begin = file.tell()
            process = self._popen(file, arguments)
        # Waits for it as long as it lives, so that it leaves no zombie; a daemon, so that nobody waits for
        # the thread.
        threading.Thread(target=process.wait, name=f"front-{process.pid}", daemon=True).start()
        return begin, process

    def _popen(self, log: IO[bytes], arguments: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 (our own interpreter, our own options)
            [self._python, "-m", "stager.front", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            pass_fds=[listener.socket.fileno() for listener in self._held],
            start_new_session=True,
        )

    def _inherited(self) -> list[str]:
        """The options by which a new front takes the sockets that we held for it."""
        options = {"plain": "--fd", "tls": "--tls-fd"}
        return [f"{options[listener.kind]}={listener.socket.fileno()}" for listener in self._held]

    async def _hold(self) -> None:
        """Hold a copy of the listening sockets, in whose queue clients wait while a killed front is away."""
        copying = asyncio.ensure_future(asyncio.to_thread(self._copies))
        try:
            listeners = await asyncio.shield(copying)
        except asyncio.CancelledError:
            copying.add_done_callback(_close)  # a thread goes on, and nobody takes what it brings
            raise
        self.release()
        self._held = listeners

    def _copies(self) -> list[Listener]:
        connection, listeners = request_listeners(self._state_dir / "handover.sock", "copy")
        connection.close()
        return listeners

    async def _until_gone(self) -> None:
        """Returns when the front that runs now has hung up."""
        client = FrontClient(self._state_dir)
        try:
            await client.until_gone()
        finally:
            await client.close()


def _close(copying: asyncio.Future[list[Listener]]) -> None:
    if copying.cancelled() or copying.exception():
        return
    for listener in copying.result():
        listener.socket.close()


def _why_silent(log: Path) -> str:
    if shutil.disk_usage(log.parent).free == 0:
        return f"The disk of {log.parent} is full."
    return "It said nothing."


def _not_started(log: Path, begin: int) -> Fault:
    with log.open("rb") as file:
        file.seek(begin)
        words = file.read(65536).decode("utf-8", "replace").strip()
    last = words.splitlines()[-1].removeprefix("stager front: ") if words else _why_silent(log)
    taken = "another program has port" in last
    return Fault(
        f"The front did not start: {last}",
        hint="" if taken else f"Its log is {log}.",
        reason="port-taken" if taken else "front-start",
        detail=words,
    )
