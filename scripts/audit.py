"""Asks whether what we depend on has known holes, for scripts/check. Who knows is the package index; where
it can't be asked, this says so and is no failure.

usage: scripts/audit.py LOCK...
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def audited(lock: str) -> tuple[list[str], int, int]:
    """What is known against the packages of this lock, how many they are, and about how many nobody says.

    Args:
        lock: a file of requirements with hashes.
    """
    command = [sys.executable, "-m", "pip_audit", "--requirement", lock, "--disable-pip", "--require-hashes"]
    done = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, check=False)
    if not done.stdout.startswith("{"):
        return [], 0, 0
    packages = json.loads(done.stdout)["dependencies"]
    known = [_told(package, hole) for package in packages for hole in package.get("vulns", ())]
    return known, len(packages), sum("skip_reason" in package for package in packages)


def _told(package: dict[str, Any], hole: dict[str, Any]) -> str:
    mended = ", ".join(hole["fix_versions"]) or "nothing yet"
    return f"{package['name']} {package['version']}: {hole['id']}, mended in {mended}"


def main() -> int:
    """0 where nothing is known, or nobody could be asked; 1 for a hole that an upgrade would mend."""
    failed = False
    for lock in sys.argv[1:]:
        known, asked, silent = audited(lock)
        if asked == silent:
            print(f"  skipped {lock}: the package index doesn't tell of known holes from here")
        for line in known:
            print(f"  {line}")
        failed = failed or any("nothing yet" not in line for line in known)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
