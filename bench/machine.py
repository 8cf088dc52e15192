"""Facts about the machine that took the figures, without names or paths."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from typing import Any

from stager.version import __version__


def facts() -> dict[str, Any]:
    """Date, processors, kernel and versions."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": re.match(r"[\d.]*\d", platform.release())[0],  # type: ignore[index]
        "versions": {
            "stager": __version__,
            "python": platform.python_version(),
            "docker": _said("docker", "version", "--format", "{{.Server.Version}}"),
            "nginx": _said("nginx", "-v"),
            "wrk": _said("wrk", "-v"),
        },
    }


def _said(*command: str) -> str:
    """The first version number in the output of a command; empty if it isn't installed."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
        )
    except OSError:
        return ""
    found = re.search(r"\d+\.\d+[\w.+~-]*", done.stdout + done.stderr)
    return found[0] if found else ""
