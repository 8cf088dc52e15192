"""The untrusted builder's way out: a link whose host end the firewall takes for untrusted code."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Interface

from stager.helper.protocol import HelperError

COMMAND_TIMEOUT = 10.0
"""Seconds for `ip` and `iptables`, which wait for each other's lock."""


@dataclass(frozen=True, slots=True)
class Link:
    """One link.

    Args:
        name: of its host end; begins with `pvf`, by which the firewall knows untrusted code.
        outside: the host end's address and network.
    """

    name: str
    outside: IPv4Interface

    def make(self, process: int) -> None:
        """Make it, into the network of this process, and let out what the firewall lets pass.
        Raises `HelperError`."""
        _run("ip", "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", str(process))
        _run("ip", "address", "add", str(self.outside), "dev", self.name)
        _run("sysctl", "-q", "-w", f"net.ipv6.conf.{self.name}.disable_ipv6=1", check=False)
        _run("ip", "link", "set", self.name, "up")
        self.keep_open()

    def keep_open(self) -> None:
        """Put back the rule if it is missing: somebody may have flushed the table. Raises `HelperError`."""
        if not _succeeds("iptables", "-w", "-t", "nat", "-C", *self._rule()):
            _run("iptables", "-w", "-t", "nat", "-A", *self._rule())

    def remove(self) -> None:
        """Remove it and its rule; no effect where there is none."""
        while _succeeds("iptables", "-w", "-t", "nat", "-D", *self._rule()):
            pass
        _run("ip", "link", "delete", self.name, check=False)

    def _rule(self) -> list[str]:
        """What may pass, the firewall's rules say; this only lends it the machine's address."""
        network = str(self.outside.network)
        return ["POSTROUTING", "-s", network, "!", "-o", self.name, "-j", "MASQUERADE"]


def _succeeds(*command: str) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 (our own command)
            command, capture_output=True, timeout=COMMAND_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _run(*command: str, check: bool = True) -> None:
    try:
        done = subprocess.run(  # noqa: S603 (our own command)
            command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_link(str(error)) from error
    if check and done.returncode:
        raise _no_link(f"{command[0]}: {done.stderr.strip()[:200]}")


def _no_link(why: str) -> HelperError:
    return HelperError(f"The builder's network can't be made: {why}.", kind="retry", reason="builder-network")
