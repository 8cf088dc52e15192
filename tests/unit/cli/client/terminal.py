"""A command on a pseudo-terminal with a user."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time

PATIENCE = 60.0
"""Seconds until a test gives up waiting; reached only when something is broken."""


class Terminal:
    """A command on a pseudo-terminal of 40 rows and 120 columns."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self.process, self._ours = _on_terminal(command, environ)
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait_for(self, words: str) -> str:
        """All output so far, once these words are part of it."""
        deadline = time.monotonic() + PATIENCE
        while words not in self.said:
            assert time.monotonic() < deadline, f"the terminal doesn't say {words!r}: {self.said}"
            time.sleep(0.03)
        return self.said

    def ends(self) -> int:
        """The exit code, once it has ended and all was read."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._ours, 65_536)
            except OSError:  # the other end is closed
                piece = b""
            if not piece:
                break
            self.said += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", piece.decode("utf-8", "replace"))
        os.close(self._ours)


def _with_default_sigint() -> None:
    """A shell starts background jobs, such as a run of all tests, with SIGINT ignored; terminals don't."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _on_terminal(command: list[str], environ: dict[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ | {"TERM": "xterm-256color"},
        start_new_session=True, preexec_fn=_with_default_sigint,  # noqa: PLW1509 (it takes no lock)
    )  # fmt: skip
    os.close(theirs)
    return process, ours
