"""Prepares a machine as a node of a swarm: a user for Stager's SSH key, and the root helper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stager.domain.errors import Refused
from stager.systemd.machine import Machine
from stager.systemd.service import DOCKER
from stager.systemd.units import FOLDER, HELPER, STAGER, Program, units

USER = "stager-node"
KEYS = Path("/etc/stager-node/authorized_keys")
"""It belongs to root: the user can't let others in."""
SSHD = Path("/etc/ssh/sshd_config.d/60-stager-node.conf")
OPTIONS = 'restrict,port-forwarding,command="/bin/false"'

SSHD_CONFIGURATION = f"""\
# Written by `stager node join`: Stager's key may forward Unix sockets and nothing else.
Match User {USER}
    AuthorizedKeysFile {KEYS}
    AuthenticationMethods publickey
    AllowStreamLocalForwarding local
    AllowTcpForwarding no
    AllowAgentForwarding no
    X11Forwarding no
    PermitTunnel no
    PermitTTY no
    ForceCommand /bin/false
Match all
"""


@dataclass(frozen=True, slots=True)
class Node:
    """This machine as a node.

    Args:
        program: what its root helper runs.
    """

    machine: Machine
    program: Program

    def let_in(self, key: str) -> None:
        """Let a key forward the sockets of Docker and the root helper.

        Args:
            key: a public SSH key; one line.

        Raises:
            Refused: `node-is-server`: Stager itself is installed here.
            Fault: a command fails.
        """
        if self.machine.exists(FOLDER / STAGER):
            raise Refused(
                "This machine runs Stager's server, which uses its own Docker without joining.",
                hint="Run `stager node join` on the other machines.",
                reason="node-is-server",
            )
        self._add_user()
        self.machine.write(KEYS, f"{OPTIONS} {key}\n")
        if self.machine.write(SSHD, SSHD_CONFIGURATION) and self.machine.has_systemd:
            self.machine.run("systemctl", "reload", "ssh")

    def _add_user(self) -> None:
        if not self.machine.has_user(USER):
            # `*` is no password; without one, an SSH server without PAM takes the account for locked.
            options = ("--system", "--user-group", "--home-dir", "/nonexistent", "--password", "*")
            self.machine.run("useradd", *options, "--shell", "/usr/sbin/nologin", "--groups", DOCKER, USER)
        elif not self.machine.has_member(DOCKER, USER):
            self.machine.run("usermod", "--append", "--groups", DOCKER, USER)

    def start(self) -> None:
        """Write the unit of the root helper and start it. Raises Fault."""
        text = units(self.program)[HELPER].replace("--user stager\n", f"--user {USER}\n")
        self.machine.write(FOLDER / HELPER, text)
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "enable", HELPER)
        self.machine.run("systemctl", "restart", HELPER)
