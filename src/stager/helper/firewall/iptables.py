"""Runs `iptables`, in the variant (nft or legacy) that is this machine's default, as Docker does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from stager.helper.protocol import HelperError
from stager.helper.verbs import failed

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
COMMANDS = {4: "iptables", 6: "ip6tables"}
TIMEOUT = 10.0
"""Seconds for one call."""
LOCK = 5
"""Seconds to wait for the lock of the legacy variant (`-w`)."""
IF_INET6 = Path("/proc/self/net/if_inet6")


def has_family(family: int) -> bool:
    """Whether this machine has the address family, 4 or 6. Without IPv6, no rules are needed for it."""
    return family == 4 or IF_INET6.exists()


def save(family: int, table: str = "filter") -> str:
    """Return a table. Raises `HelperError`."""
    return _run(family, "-save", ["-t", table])


def restore(family: int, text: str) -> None:
    """Apply this atomically. Raises `HelperError`."""
    _run(family, "-restore", ["--noflush", "-w", str(LOCK)], text)


def _run(family: int, which: str, arguments: list[str], stdin: str = "") -> str:
    name = f"{COMMANDS[family]}{which}"
    command = shutil.which(name, path=PATH)
    if command is None:
        raise failed(
            f"{name} isn't installed.",
            "firewall-unavailable",
            "Install `iptables`, which Docker also needs.",
        )
    try:
        done = subprocess.run(  # noqa: S603 (no argument is from a caller)
            [command, *arguments], input=stdin, capture_output=True, text=True,
            timeout=TIMEOUT, check=False, env={"PATH": PATH, "LC_ALL": "C"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise failed(f"{name} took longer than {TIMEOUT:g} s.", "firewall-failed") from None
    if done.returncode:
        raise _error(name, done.stderr)
    return done.stdout


def _error(name: str, output: str) -> HelperError:
    last = (output.strip().splitlines() or ["no error message"])[0][:300]
    return failed(f"{name} failed: {last}", "firewall-failed", "See the helper's log.")
