"""HAProxy's commands: test a configuration file, and reload. Its error messages are passed on unchanged."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from stager.domain.errors import Fault, Retry
from stager.routers import programs

_ERROR = re.compile(r"\[ALERT\]\s+(?:\(\d+\)|[\d/]+ \(\d+\)) : (?:config : )?(.+)")
_SUMMARY = re.compile(r"Error\(s\) found in configuration file|Fatal errors found in configuration")
_NOT_RUNNING = re.compile(
    r"is not (?:active|running)|not applicable for unit|No such process|No such file", re.IGNORECASE
)


class Haproxy:
    """An HAProxy.

    Args:
        test_command: tests a configuration file, whose path is appended; empty to skip the test.
        reload_command: reloads its configuration; empty to skip the reload.
    """

    def __init__(self, test_command: Sequence[str], reload_command: Sequence[str]) -> None:
        self._test_command = test_command
        self._reload_command = reload_command

    def test(self, file: Path) -> str:
        """Test this file. Returns HAProxy's first error; empty if there is none.

        Raises:
            Fault: the command can't be run.
            Retry: the command timed out.
        """
        done = _run([*self._test_command, str(file)]) if self._test_command else None
        return _error_of(done) if done and done.returncode else ""

    def reload(self) -> bool:
        """Reload the configuration.

        Returns:
            Whether HAProxy is running. If it isn't, it reads the file when it starts.

        Raises:
            Fault: the command failed, or can't be run.
            Retry: the command timed out.
        """
        done = _run(self._reload_command) if self._reload_command else None
        if not done or not done.returncode:
            return True
        error_text = _error_of(done)
        if _NOT_RUNNING.search(error_text):
            return False
        raise Fault(
            f"Reloading HAProxy failed: {error_text}",
            hint="Stager runs `haproxy.reload_command` of the configuration, as its own user.",
            reason="haproxy-reload",
            detail=error_text,
        )


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return programs.run(command)
    except OSError as error:
        raise Fault(
            f"`{command[0]}` can't be run: {error.strerror}.",
            hint="Install HAProxy (on Debian and Ubuntu: apt-get install haproxy), or set"
            " `haproxy.test_command` and `haproxy.reload_command`.",
            reason="haproxy-missing",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Retry(
            f"`{command[0]}` didn't finish within {programs.TIMEOUT:g} s.", reason="haproxy-silent"
        ) from error


def _error_of(done: subprocess.CompletedProcess[str]) -> str:
    """Return HAProxy's first error; the last line of output if there is none in HAProxy's format."""
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    errors = [match[1] for line in lines if (match := _ERROR.search(line)) and not _SUMMARY.search(match[1])]
    return (errors or lines[-1:] or [f"exit code {done.returncode}"])[0]


def without_place(error_text: str, file: Path) -> str:
    """Return HAProxy's error about this file with the line of the rendered template."""
    # The first line of the file is Stager's mark.
    return re.sub(
        rf"(?:file )?\[?'?{re.escape(str(file))}(?::(\d+))?'?\]?",
        lambda place: f"line {int(place[1]) - 1} of the rendered template" if place[1] else "the template",
        error_text,
    )
