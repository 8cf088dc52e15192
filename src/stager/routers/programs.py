"""Runs the commands of a proxy."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

TIMEOUT = 60.0
_SYSTEM_PROGRAMS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Folders of servers that aren't in the PATH of users other than root."""


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the administrator's and return its output.

    Raises:
        OSError: it can't be run.
        subprocess.TimeoutExpired: it didn't finish within `TIMEOUT` seconds, and was killed.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_PROGRAMS])
    return subprocess.run(  # noqa: S603 (the administrator's configuration)
        list(command),
        stdin=subprocess.DEVNULL,
        umask=0o022,  # files that the program creates, such as logs, get the usual permissions
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=TIMEOUT,
        env={**os.environ, "PATH": path, "LC_ALL": "C"},
    )
