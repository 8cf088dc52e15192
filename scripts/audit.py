"""Checks the locked packages for known vulnerabilities, for scripts/check. The package index has the data; if
it doesn't answer, this says so and doesn't fail.

usage: scripts/audit.py LOCK...
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def audited(lock: str) -> tuple[list[str], int, int]:
    """The known vulnerabilities of this lock's packages, their number, and the number of packages without
    data.

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
    """Returns 0 if no vulnerability is known or the index doesn't answer, 1 for a vulnerability that an
    upgrade fixes."""
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
