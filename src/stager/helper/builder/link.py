"""The untrusted builder's network link, a veth pair. The firewall recognises its host end by the name."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Interface

from stager.helper.protocol import HelperError

COMMAND_TIMEOUT = 10.0
"""Seconds for one call of `ip` or `iptables`, which may wait for a lock."""


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair.

    Args:
        name: the name of its host end; begins with `pvf`, the firewall's prefix for untrusted code.
        outside: the host end's address and network.
    """

    name: str
    outside: IPv4Interface

    def create(self, process: int) -> None:
        """Create it, with one end in the network namespace of this process. Raises `HelperError`."""
        _run("ip", "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", str(process))
        _run("ip", "address", "add", str(self.outside), "dev", self.name)
        _run("sysctl", "-q", "-w", f"net.ipv6.conf.{self.name}.disable_ipv6=1", check=False)
        _run("ip", "link", "set", self.name, "up")
        self.ensure_masquerading()

    def ensure_masquerading(self) -> None:
        """Add the NAT rule if it is missing, for example after a flush of the table. Raises `HelperError`."""
        if not _succeeds("iptables", "-w", "-t", "nat", "-C", *self._rule()):
            _run("iptables", "-w", "-t", "nat", "-A", *self._rule())

    def remove(self) -> None:
        """Remove it and its NAT rule. Idempotent."""
        while _succeeds("iptables", "-w", "-t", "nat", "-D", *self._rule()):
            pass
        _run("ip", "link", "delete", self.name, check=False)

    def _rule(self) -> list[str]:
        """The NAT rule. Which packets may pass is decided by the firewall's rules."""
        network = str(self.outside.network)
        return ["POSTROUTING", "-s", network, "!", "-o", self.name, "-j", "MASQUERADE"]


def _succeeds(*command: str) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 (no argument is from a caller)
            command, capture_output=True, timeout=COMMAND_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _run(*command: str, check: bool = True) -> None:
    try:
        done = subprocess.run(  # noqa: S603 (no argument is from a caller)
            command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_link(str(error)) from error
    if check and done.returncode:
        raise _no_link(f"{command[0]}: {done.stderr.strip()[:200]}")


def _no_link(why: str) -> HelperError:
    return HelperError(
        f"The builder's network link can't be created: {why}.", kind="retry", reason="builder-network"
    )
