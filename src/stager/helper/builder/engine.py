"""Selects the Docker engine of the untrusted builder."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path

from stager.helper.protocol import HelperError

MIN_VERSION = 25
"""The first release of Docker with BuildKit 0.12.5, which fixes CVE-2024-23651, -23652 and -23653 (January
2024), https://github.com/moby/buildkit/releases/tag/v0.12.5."""
VERSION_TIMEOUT = 10.0
"""Seconds for `dockerd --version`."""


def folder_of_engine(programs: Path) -> Path:
    """Return the folder of the engine's programs.

    Args:
        programs: the folder of Stager's own copy; the system's programs are used if it has no `dockerd`.

    Raises:
        HelperError: there is no `dockerd`, or it is too old.
    """
    own = programs / "dockerd"
    found = str(own) if own.exists() else shutil.which("dockerd")
    if found is None:
        raise _no_engine("`dockerd` isn't installed, which the builder needs")
    file = Path(found)
    version = _version(found, file.stat().st_mtime)
    if version < MIN_VERSION:
        raise _no_engine(f"{found} is Docker {version}; the builder needs {MIN_VERSION} or later")
    return file.parent


@functools.lru_cache(maxsize=4)
def _version(program: str, changed_at: float) -> int:
    """Return the major version; 0 if it can't be determined.

    Args:
        program: the path of `dockerd`.
        changed_at: its modification time, as a part of the cache's key.
    """
    del changed_at
    try:
        done = subprocess.run(  # noqa: S603 (from root's command line)
            [program, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"version (\d+)\.", done.stdout)
    return int(found[1]) if found else 0


def _no_engine(why: str) -> HelperError:
    return HelperError(
        f"{why}.",
        kind="fault",
        reason="builder-engine",
        hint="On Debian 12, `scripts/setup` downloads the version of Debian 13.",
    )
