"""The process of the untrusted builder's sandbox: start, health check, stop, and cleanup after a crash."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stager.helper.protocol import HelperError

START_TIMEOUT = 30.0
"""Seconds until its engine must respond; it usually takes one or two."""
GRACE = 8.0
"""Seconds between SIGTERM and SIGKILL."""
LOG_TAIL = 600
"""Characters of its log in an error message."""


@dataclass(frozen=True, slots=True)
class _Started:
    """Args: engine: the process id of the engine, the first process of its namespace."""

    process: subprocess.Popen[bytes]
    engine: int


class Process:
    """The process, running or not.

    Args:
        address: the path of its engine's socket.
        folder: the folder of its log and its pid file.
    """

    def __init__(self, address: Path, folder: Path) -> None:
        self._address = address
        self._log, self._pid_file = folder / "dockerd.log", folder / "process"
        self._started: _Started | None = None

    @property
    def was_started(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._started is not None

    @property
    def engine(self) -> int | None:
        """The engine's process id; None if it isn't running."""
        started = self._started
        return started.engine if started and started.process.poll() is None else None

    @contextlib.contextmanager
    def start(self, command: list[str], user: str) -> Iterator[int]:
        """Start it. The block receives its engine's process id, and creates its network link.

        Args:
            command: gets the listening socket as standard output, and waits for a line on standard input.
            user: the owner of the socket.

        Raises:
            HelperError: it doesn't start.
        """
        with _listening(self._address, user) as listener, self._log.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 (no argument is from a caller)
                command,
                stdin=subprocess.PIPE,
                stdout=listener.fileno(),
                stderr=log,
                start_new_session=True,
            )
        try:
            self._pid_file.write_text(f"{process.pid} {_start_time(process.pid)}", "ascii")
            self._started = _Started(process, self._child(process))
            yield self._started.engine
            _release(process)
            self._wait_until_healthy()
        except BaseException:
            process.kill()
            process.wait()
            self.stop()
            raise

    def _child(self, process: subprocess.Popen[bytes]) -> int:
        children, deadline = (
            f"/proc/{process.pid}/task/{process.pid}/children",
            time.monotonic() + START_TIMEOUT,
        )
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                return int(Path(children).read_text("ascii").split()[0])
            time.sleep(0.005)
        raise self._failed()

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self.engine is not None:
            if self.is_healthy():
                return
        raise self._failed()

    def is_healthy(self, timeout: float = 1.0) -> bool:
        """Whether its engine responds within so many seconds."""
        connection = http.client.HTTPConnection("builder", timeout=timeout)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(timeout)
        try:
            connection.sock.connect(str(self._address))
            connection.request("GET", "/_ping")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _failed(self) -> HelperError:
        tail = self._log.read_text("utf-8", "replace").strip()[-LOG_TAIL:]
        return HelperError(
            f"The builder doesn't start: {tail or 'its log is empty'}",
            kind="retry",
            reason="builder-failed",
            hint=f"Its log is {self._log}. A damaged disk may be deleted; an empty one is then created.",
        )

    def stop(self) -> None:
        """Stop it with all its child processes. Idempotent."""
        self._address.unlink(missing_ok=True)
        started, self._started = self._started, None
        if started is not None:
            _stop(started)
        self._pid_file.unlink(missing_ok=True)

    def stop_orphan(self) -> None:
        """Stop the process of a helper that crashed."""
        with contextlib.suppress(OSError, ValueError):
            pid, start_time = self._pid_file.read_text("ascii").split()
            if _start_time(int(pid)) == start_time:
                os.kill(int(pid), signal.SIGKILL)
                _wait_for_exit(int(pid), start_time)
        self._pid_file.unlink(missing_ok=True)
        self._address.unlink(missing_ok=True)


def _release(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b"\n")
            process.stdin.close()


def _stop(started: _Started) -> None:
    process = started.process
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(started.engine, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    process.kill()  # and the kernel kills the other processes of its namespace
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


@contextlib.contextmanager
def _listening(address: Path, user: str) -> Iterator[socket.socket]:
    """Listen on a socket that the engine inherits, and that only this user may open."""
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        mask = os.umask(0o177)
        try:
            listener.bind(str(address))
        finally:
            os.umask(mask)
        shutil.chown(address, user)
        listener.listen(128)
        yield listener


def _start_time(pid: int) -> str:
    """Return the start time of a process in clock ticks; with the id, it identifies the process. See
    proc_pid_stat(5), fields 3 and 22. Raises OSError if there is none, or only a zombie."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return fields[19]


def _wait_for_exit(pid: int, start_time: str) -> None:
    deadline = time.monotonic() + GRACE
    with contextlib.suppress(OSError):
        while time.monotonic() < deadline and _start_time(pid) == start_time:
            time.sleep(0.02)
