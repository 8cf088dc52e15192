"""Installs and removes Stager's services: its user, folders, first configuration, and units."""

from __future__ import annotations

import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from stager.domain.errors import Fault, Refused
from stager.systemd.machine import Machine
from stager.systemd.units import BUILDER, FOLDER, HELPER, STAGER, Program, units

USER, DOCKER = "stager", "docker"
COMMAND = Path("/usr/local/bin/stager")
STATE = Path("/var/lib/stager")
HELPER_SOCKET = Path("/run/stager/helper.sock")
HELPER_SECONDS = 15.0
HIDDEN = (Path("/home"), Path("/root"), Path("/run/user"))
"""Folders that a unit with `ProtectHome` can't see (systemd.exec)."""
PRIVATE_TMP = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 (compared only)

FIRST_CONFIGURATION = """\
# Stager's configuration. Check it with `stager config check`, and restart Stager after a change.
listen: 0.0.0.0:{port}
state_dir: {state}
log_format: json
# domain: preview.example.org    # previews are subdomains of it; see docs/how-to/wildcard-dns-and-https.md
"""


@dataclass(frozen=True, slots=True)
class Service:
    """Stager's services on a machine.

    Args:
        program: what they run.
    """

    machine: Machine
    program: Program

    def prepare(self, port: int) -> None:
        """Create the user, the folders, a configuration if there is none, and a link to the command.

        Args:
            port: where a new configuration lets Stager listen.

        Raises:
            Fault: a command fails.
        """
        self._add_user()
        self.machine.folder(STATE, 0o700, USER, USER)
        self.machine.folder(self.program.config.parent, 0o750, "root", USER)
        if not self.machine.exists(self.program.config):
            text = FIRST_CONFIGURATION.format(port=port, state=STATE)
            self.machine.write(self.program.config, text, 0o640, USER)
        self.machine.link(COMMAND, self.program.command)

    def _add_user(self) -> None:
        if not self.machine.has_user(USER):
            options = ("--system", "--user-group", "--home-dir", str(STATE), "--shell", "/usr/sbin/nologin")
            self.machine.run("useradd", *options, "--groups", DOCKER, USER)
        elif not self.machine.has_member(DOCKER, USER):
            self.machine.run("usermod", "--append", "--groups", DOCKER, USER)

    def install(self) -> None:
        """Write the units and start them. After an upgrade, restarts both: previews stay reachable.

        Raises:
            Fault: a command fails.
        """
        for name, text in units(self.program).items():
            self.machine.write(FOLDER / name, text)
        self.machine.run("systemctl", "daemon-reload")
        self._start(HELPER)
        if not self.machine.has_appeared(HELPER_SOCKET, HELPER_SECONDS):
            # Started without it, Stager would leave the first previews without firewall rules.
            raise Fault(
                f"The root helper didn't start within {HELPER_SECONDS:g} s.",
                hint="Its log says why: journalctl -u stager-helper -n 20 -o cat",
                reason="service-helper-failed",
            )
        self._start(STAGER)

    def _start(self, unit: str) -> None:
        self.machine.run("systemctl", "enable", unit)
        self.machine.run("systemctl", "restart", unit)

    def uninstall(self) -> None:
        """Stop both services and the front, and remove the units. Nothing else is removed.

        Raises:
            Fault: a command fails.
        """
        present = [unit for unit in (STAGER, HELPER) if self.machine.exists(FOLDER / unit)]
        for unit in present:
            self.machine.run("systemctl", "disable", "--now", unit)
        if present and self.machine.exists(self.program.config):
            # The unit has `KillMode=process`, so the front still runs.
            stop = (str(self.program.command), "stop", "--config", str(self.program.config))
            self.machine.run("runuser", "--user", USER, "--", *stop)
        for name in (STAGER, BUILDER, str(Path(BUILDER).parent), HELPER):
            self.machine.remove(FOLDER / name)
        if present:
            self.machine.run("systemctl", "daemon-reload")
        if self.machine.at(COMMAND).is_symlink():
            self.machine.remove(COMMAND)


def check_program(program: Program) -> None:
    """Check that a service can run this program, and that only root can change it.

    Raises:
        Refused: it is in a folder that services can't see, or other users than root can change it.
    """
    places = {Path(sys.prefix).resolve(), Path(__file__).resolve().parents[1], program.python.resolve()}
    for place in sorted(places):
        if any(place.is_relative_to(folder) for folder in (*HIDDEN, *PRIVATE_TMP)):
            raise _unsuitable(f"A service can't use {place}, because it doesn't see that folder.")
        for path in (place, *place.parents):
            facts = path.stat()
            is_open = facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not facts.st_mode & stat.S_ISVTX
            if facts.st_uid or is_open:
                raise _unsuitable(f"Other users than root can change {path}, where the service's program is.")


def _unsuitable(what: str) -> Refused:
    return Refused(
        what,
        hint="Install Stager as root in a folder such as /opt/stager: `sudo scripts/install` does.",
        reason="service-program-unsuitable",
    )
