"""Launches the front for the control plane: finds a running one, or starts one, and restarts it after a
crash.

The front has a session and a log of its own and no pipe to the control plane, so that it outlives the control
plane, even after a SIGKILL.
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
from stager.front.process.client import FrontClient, Hello, hello_of
from stager.front.process.protocol import PROTOCOL
from stager.front.process.sockets import Listener, request_listeners
from stager.front.proxy.connections import LOOPBACK, NO_PROXIES
from stager.version import __version__

_START_SECONDS = 15.0
_POLL_SECONDS = 0.02
_STABLE_SECONDS = 5.0
_MIN_BACKOFF = 0.1
_MAX_BACKOFF = 10.0


@dataclass(frozen=True, slots=True)
class FrontOptions:
    """The options of the front, as in `python -m stager.front --help`. A front with other options is
    replaced.

    Args:
        trusted_proxies: networks; an empty tuple trusts no proxy at all.
    """

    listen: str = "127.0.0.1:8000"
    tls_listen: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    acme_folder: str = ""
    https_port: int = 0
    hsts: int = 0
    trusted_proxies: tuple[str, ...] = LOOPBACK
    access_log: bool = True
    limits: Limits = field(default_factory=Limits)

    def arguments(self, state_dir: Path) -> list[str]:
        """Return the command line."""
        named = {
            "--tls-listen": self.tls_listen,
            "--tls-certificate": self.tls_certificate,
            "--tls-key": self.tls_key,
            "--acme-folder": self.acme_folder,
            "--https-port": self.https_port,
            "--hsts": self.hsts,
            "--state-dir": str(state_dir),
        }
        arguments = [
            f"--listen={self.listen}",
            *(f"{name}={value}" for name, value in named.items() if value),
        ]
        arguments += [f"--trusted-proxy={network}" for network in self.trusted_proxies] or [NO_PROXIES]
        arguments += [] if self.access_log else ["--no-access-log"]
        return arguments + limits.to_arguments(self.limits)


class FrontLauncher:
    """Keeps a front running.

    Args:
        state_dir: the directory of the front's table, log and sockets.
        options: the front's options.
        python: the interpreter.
    """

    def __init__(
        self, state_dir: Path, options: FrontOptions | None = None, *, python: str = sys.executable
    ) -> None:
        self._state_dir = state_dir.absolute()
        self._settings = (options or FrontOptions()).arguments(self._state_dir)
        self._python = python
        self._listeners: list[Listener] = []
        self._stopping = asyncio.Event()

    async def ensure(self) -> Hello:
        """Ensure that a front with these options runs: keep a matching one, replace another one, or start
        one.

        Raises:
            Fault: it doesn't start; the detail is its log.
            Retry: it exited right after the start.
        """
        hello = await hello_of(self._state_dir)
        if hello is None:
            hello = await self._start([*self._settings, *self._inherited()])
        elif not self._matches(hello):
            hello = await self._start([*self._settings, "--take-over"], predecessor=hello.pid)
        try:
            await self._copy_listeners()
        except OSError as error:
            raise Retry("The front exited right after it started.", reason="front-away") from error
        return hello

    async def keep(self, report: Callable[[str], None] = lambda _: None) -> None:
        """Restart the front whenever it exits, until cancelled or `stop` is called.

        Args:
            report: called with the error after each failed start, and with an empty string after a good one.
        """
        backoff = _MIN_BACKOFF
        while not self._stopping.is_set():
            since = time.monotonic()
            await self._until_gone()
            if self._stopping.is_set():
                return
            if time.monotonic() - since < _STABLE_SECONDS:
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _MAX_BACKOFF)
            else:
                backoff = _MIN_BACKOFF
            try:
                await self.ensure()
            except (StagerError, OSError) as error:
                report(str(error))
            else:
                report("")

    async def stop(self, timeout: float | None = None) -> None:
        """Stop the front and wait until it has exited. Afterwards, connections are refused."""
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
        """Close the copies of the listening sockets."""
        for listener in self._listeners:
            listener.socket.close()
        self._listeners = []

    def _matches(self, hello: Hello) -> bool:
        return (hello.protocol, hello.version, list(hello.settings)) == (
            PROTOCOL,
            __version__,
            self._settings,
        )

    async def _start(self, arguments: list[str], predecessor: int | None = None) -> Hello:
        """Start a process and wait until it serves the control socket."""
        log = self._state_dir / "front.log"
        begin, process = await asyncio.to_thread(self._spawn, log, arguments)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            hello = await hello_of(self._state_dir)
            if hello is not None and hello.pid not in {predecessor, None}:
                return hello
            if process.poll() is not None:
                break
            await asyncio.sleep(_POLL_SECONDS)
        raise _not_started(log, begin)

    def _spawn(self, log: Path, arguments: list[str]) -> tuple[int, subprocess.Popen[bytes]]:
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with log.open("ab") as file:
            begin = file.tell()
            process = self._popen(file, arguments)
        # Reaps the process when it exits; a daemon thread, so that this process can exit before.
        threading.Thread(target=process.wait, name=f"front-{process.pid}", daemon=True).start()
        return begin, process

    def _popen(self, log: IO[bytes], arguments: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 (no argument is from a user)
            [self._python, "-m", "stager.front", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            pass_fds=[listener.socket.fileno() for listener in self._listeners],
            start_new_session=True,
        )

    def _inherited(self) -> list[str]:
        """The options with the listening sockets that a new front inherits."""
        options = {"plain": "--fd", "tls": "--tls-fd"}
        return [f"{options[listener.kind]}={listener.socket.fileno()}" for listener in self._listeners]

    async def _copy_listeners(self) -> None:
        """Keep copies of the listening sockets, in whose queue clients wait while a crashed front
        restarts."""
        copying = asyncio.ensure_future(asyncio.to_thread(self._copies))
        try:
            listeners = await asyncio.shield(copying)
        except asyncio.CancelledError:
            copying.add_done_callback(_close)  # the thread continues, and its result isn't used
            raise
        self.release()
        self._listeners = listeners

    def _copies(self) -> list[Listener]:
        connection, listeners = request_listeners(self._state_dir / "handover.sock", "copy")
        connection.close()
        return listeners

    async def _until_gone(self) -> None:
        """Wait until the running front has exited."""
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


def _cause_without_log(log: Path) -> str:
    if shutil.disk_usage(log.parent).free == 0:
        return f"The disk of {log.parent} is full."
    return "It logged nothing."


def _not_started(log: Path, begin: int) -> Fault:
    with log.open("rb") as file:
        file.seek(begin)
        text = file.read(65536).decode("utf-8", "replace").strip()
    last = text.splitlines()[-1].removeprefix("stager front: ") if text else _cause_without_log(log)
    taken = "another program uses port" in last
    return Fault(
        f"The front did not start: {last}",
        hint="" if taken else f"See its log, {log}.",
        reason="port-taken" if taken else "front-start",
        detail=text,
    )
