"""Which Docker engine runs the untrusted builder."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path

from stager.helper.protocol import HelperError

OLDEST = 25
"""The first release of Docker whose BuildKit, 0.12.5, has the repairs of January 2024: CVE-2024-23651, -23652
and -23653, https://github.com/moby/buildkit/releases/tag/v0.12.5."""
ASKING = 10.0
"""Seconds for `dockerd --version`."""


def folder_of_engine(programs: Path) -> Path:
    """The folder that goes before the system's when its programs are looked for.

    Args:
        programs: where Stager's own lie, if they do; otherwise the system's are used.

    Raises:
        HelperError: neither is there and new enough.
    """
    own = programs / "dockerd"
    found = str(own) if own.exists() else shutil.which("dockerd")
    if found is None:
        raise _no_engine("There is no dockerd for the builder")
    file = Path(found)
    version = _version(found, file.stat().st_mtime)
    if version < OLDEST:
        raise _no_engine(f"{found} is of Docker {version}, and the builder needs {OLDEST} or later")
    return file.parent


@functools.lru_cache(maxsize=4)
def _version(program: str, changed_at: float) -> int:
    """The first part of its version; 0 if it doesn't say.

    Args:
        changed_at: an upgrade is another program.
    """
    del changed_at
    try:
        done = subprocess.run(  # noqa: S603 (of root's own command line)
            [program, "--version"], capture_output=True, text=True, timeout=ASKING, check=False
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
        hint="On Debian 12, `scripts/setup` fetches the one of Debian 13.",
    )
