"""The process on which the untrusted builder's room hangs: started, asked, ended, and ended after a crash."""

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

START = 30.0
"""Seconds until its engine has to answer; a second or two is usual."""
GRACE = 8.0
"""Seconds between SIGTERM and SIGKILL."""
LOG_SHOWN = 600
"""Characters of its log that an error tells."""


@dataclass(frozen=True, slots=True)
class _Started:
    """Args: engine: the process id of the engine, the first process of its namespace."""

    process: subprocess.Popen[bytes]
    engine: int


class Process:
    """One, under way or not.

    Args:
        address: of its engine's socket.
        notes: a folder of ours, for its log and for what the next helper has to end.
    """

    def __init__(self, address: Path, notes: Path) -> None:
        self._address = address
        self._log, self._note = notes / "dockerd.log", notes / "process"
        self._started: _Started | None = None

    @property
    def was_started(self) -> bool:
        """Whether there is something of it to be ended."""
        return self._started is not None

    @property
    def engine(self) -> int | None:
        """The engine's process; None when it doesn't run."""
        started = self._started
        return started.engine if started and started.process.poll() is None else None

    @contextlib.contextmanager
    def start(self, command: list[str], user: str) -> Iterator[int]:
        """Start it; the block gets its engine's process, and makes its network.

        Args:
            command: has the listening socket as standard output, and waits for a line on standard input.
            user: who may open the socket.

        Raises:
            HelperError: it doesn't come up.
        """
        with _listening(self._address, user) as listener, self._log.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 (our own command)
                command,
                stdin=subprocess.PIPE,
                stdout=listener.fileno(),
                stderr=log,
                start_new_session=True,
            )
        try:
            self._note.write_text(f"{process.pid} {_birth(process.pid)}", "ascii")
            self._started = _Started(process, self._child(process))
            yield self._started.engine
            _let_go(process)
            self._wait()
        except BaseException:
            process.kill()
            process.wait()
            self.end()
            raise

    def _child(self, process: subprocess.Popen[bytes]) -> int:
        children, deadline = f"/proc/{process.pid}/task/{process.pid}/children", time.monotonic() + START
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                return int(Path(children).read_text("ascii").split()[0])
            time.sleep(0.005)
        raise self._failed()

    def _wait(self) -> None:
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self.engine is not None:
            if self.answers():
                return
        raise self._failed()

    def answers(self, patience: float = 1.0) -> bool:
        """Whether its engine does, within so many seconds."""
        connection = http.client.HTTPConnection("builder", timeout=patience)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(patience)
        try:
            connection.sock.connect(str(self._address))
            connection.request("GET", "/_ping")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _failed(self) -> HelperError:
        said = self._log.read_text("utf-8", "replace").strip()[-LOG_SHOWN:]
        return HelperError(
            f"The builder doesn't start: {said or 'it says nothing'}",
            kind="retry",
            reason="builder-failed",
            hint=f"Its log is {self._log}. A disk that is damaged may be removed: it is made again, empty.",
        )

    def end(self) -> None:
        """End it, and all that it started; no effect when it doesn't run."""
        self._address.unlink(missing_ok=True)
        started, self._started = self._started, None
        if started is not None:
            _end(started)
        self._note.unlink(missing_ok=True)

    def end_left_over(self) -> None:
        """End the one that a killed helper left."""
        with contextlib.suppress(OSError, ValueError):
            pid, birth = self._note.read_text("ascii").split()
            if _birth(int(pid)) == birth:
                os.kill(int(pid), signal.SIGKILL)
                _wait_for_end(int(pid), birth)
        self._note.unlink(missing_ok=True)
        self._address.unlink(missing_ok=True)


def _let_go(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b"\n")
            process.stdin.close()


def _end(started: _Started) -> None:
    process = started.process
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(started.engine, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    process.kill()  # and the kernel kills what is left in its namespace
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


@contextlib.contextmanager
def _listening(address: Path, user: str) -> Iterator[socket.socket]:
    """A socket that the engine takes over: it is there before the engine, and nobody else may open it."""
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


def _birth(pid: int) -> str:
    """When a process was started, in the kernel's ticks: with its id, this tells it from every other. See
    proc_pid_stat(5), fields 3 and 22. Raises OSError when there is none, or only what is left of one."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return fields[19]


def _wait_for_end(pid: int, birth: str) -> None:
    deadline = time.monotonic() + GRACE
    with contextlib.suppress(OSError):
        while time.monotonic() < deadline and _birth(pid) == birth:
            time.sleep(0.02)
