"""The builder for untrusted code: a separate Docker engine, started on demand.

Its folder, the size of its disk and its programs are set on the helper's command line. Callers can only start
and stop it.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from stager.helper.builder import disk
from stager.helper.builder.engine import folder_of_engine
from stager.helper.builder.link import Link
from stager.helper.builder.process import Process
from stager.helper.builder.sandbox import Sandbox
from stager.helper.firewall.firewall import Firewall
from stager.helper.protocol import HelperError
from stager.helper.shapes import fields
from stager.helper.verbs import Feature, Result, Verb, failed

log = logging.getLogger("stager-helper")

REQUIRED_COMMANDS = ("unshare", "mount", "pivot_root", "setpriv", "mkfs.ext4", "ip", "iptables")
HEALTH_TIMEOUT = 10.0
"""Seconds after which an engine that doesn't respond is restarted."""
MIN_ADDRESSES = 4
"""Minimum size of the link's network: two addresses for its ends, and two reserved ones."""
SOCKET = "builder.sock"
"""The name of the builder's socket, in the folder of the helper's."""


class Builder(Feature):
    """The verbs `builder-start` and `builder-stop`."""

    name = "builder"

    def __init__(self, arguments: argparse.Namespace) -> None:
        network: IPv4Network = arguments.builder_network
        self._inside = IPv4Interface(f"{network[2]}/{network.prefixlen}")
        self._firewall: Firewall | None = None
        self._link = Link(arguments.builder_link, IPv4Interface(f"{network[1]}/{network.prefixlen}"))
        self._folder: Path = arguments.builder_folder
        self._programs: Path = arguments.builder_programs
        self._size: int = arguments.builder_size
        self._socket: Path = arguments.socket.with_name(SOCKET)
        self._user: str = arguments.user
        self._process = Process(self._socket, self._folder)

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """See `Feature.add_arguments`."""
        group = parser.add_argument_group("the builder for untrusted code")
        group.add_argument(
            "--builder-folder", type=Path, default=Path("/var/lib/stager-builder"), metavar="FOLDER",
            help="folder of its disk; default: %(default)s",
        )  # fmt: skip
        group.add_argument(
            "--builder-size", type=disk.size, default=20 << 30, metavar="SIZE",
            help="size of its disk, such as 40G; the file is sparse; default: 20G",
        )  # fmt: skip
        group.add_argument(
            "--builder-programs", type=Path, default=Path("/usr/libexec/stager/docker"), metavar="FOLDER",
            help="folder of its dockerd and containerd, instead of the system's; default: %(default)s",
        )  # fmt: skip
        group.add_argument(
            "--builder-network", type=link_network, default=IPv4Network("198.18.255.252/30"),
            metavar="NETWORK", help="its network, at least four addresses; default: %(default)s",
        )  # fmt: skip

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Builder:
        """See `Feature.of`."""
        return cls(arguments)

    def unavailable(self) -> str:
        """See `Feature.unavailable`."""
        if os.geteuid() != 0:
            return "The helper isn't running as root."
        missing = [name for name in REQUIRED_COMMANDS if shutil.which(name) is None]
        if missing:
            return f"Commands are missing: {', '.join(missing)}."
        if not Path("/dev/loop-control").exists():
            return "This machine has no loop devices, which the builder's disk needs."
        try:
            folder_of_engine(self._programs)
        except HelperError as error:
            return f"{error.message} {error.hint}".strip()
        return ""

    def verbs(self) -> Iterable[Verb]:
        """See `Feature.verbs`."""
        return [
            Verb("builder-start", fields(), self._start, self.name, timeout=60.0),
            Verb("builder-stop", fields(), self._stop, self.name, timeout=30.0),
        ]

    def attach(self, others: Sequence[Feature]) -> None:
        """See `Feature.attach`. The builder requires the firewall."""
        self._firewall = next((other for other in others if isinstance(other, Firewall)), None)

    def start(self) -> None:
        """See `Feature.start`: stop the builder of a helper that crashed."""
        if os.geteuid() == 0:
            self._process.stop_orphan()
            self._link.remove()

    def tick(self) -> None:
        """See `Feature.tick`: clean up after an engine that exited, and stop it without the firewall."""
        if self._process.engine is not None:
            self._check_firewall()
        elif self._process.was_started:
            log.warning("the builder has exited; its log is in %s", self._folder)
            self._end()

    def stop(self) -> None:
        """See `Feature.stop`."""
        self._end()

    def _start(self, values: Mapping[str, Any]) -> Result:
        """Start the engine unless it runs. The firewall's rules are set first."""
        del values
        if why := self.unavailable():
            raise HelperError(why, kind="fault", reason="builder-unavailable")
        self._ensure_firewall()
        if self._process.engine is not None and self._process.is_healthy(HEALTH_TIMEOUT):
            self._link.ensure_masquerading()
        else:
            self._end()
            self._begin()
        return {"socket": str(self._socket), "size": self._size, "free": self._free()}

    def _stop(self, values: Mapping[str, Any]) -> Result:
        del values
        was_started = self._process.was_started
        self._end()
        return {"stopped": was_started}

    def _ensure_firewall(self) -> None:
        """Set the firewall's rules. Raises `HelperError`."""
        if self._firewall is None:
            raise failed("The builder can't be started: this helper has no firewall.", "builder-unguarded")
        try:
            self._firewall.ensure()
        except HelperError as error:
            raise failed(
                f"The builder for untrusted code can't be started without the firewall: {error.message}",
                "builder-unguarded",
                error.hint,
            ) from error

    def _check_firewall(self) -> None:
        try:
            self._ensure_firewall()
        except HelperError as error:
            log.warning("%s", error.message)
            self._end()
        else:
            self._link.ensure_masquerading()

    def _begin(self) -> None:
        programs = folder_of_engine(self._programs)
        disk.ensure(self._folder, self._size)
        sandbox = Sandbox(self._folder, programs, self._inside, self._link.outside, self._size)
        sandbox.write_files()
        try:
            with self._process.start(sandbox.command(), self._user) as engine:
                self._link.create(engine)
        except HelperError:
            self._link.remove()
            raise
        log.info("the builder for untrusted code runs as process %s", self._process.engine)

    def _end(self) -> None:
        if self._process.was_started:
            self._process.stop()
            self._link.remove()
            log.info("the builder for untrusted code was stopped")

    def _free(self) -> int:
        """Return the free bytes of its disk, or of the disk with its file if that has less."""
        inside = os.statvfs(f"/proc/{self._process.engine}/root/data")
        return min(inside.f_bavail * inside.f_frsize, shutil.disk_usage(self._folder).free)


def link_network(text: str) -> IPv4Network:
    """Parse a network of at least four addresses. Raises argparse.ArgumentTypeError."""
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} isn't an IPv4 network") from error
    if network.num_addresses < MIN_ADDRESSES:
        raise argparse.ArgumentTypeError(
            f"{text} is too small: at least {MIN_ADDRESSES} addresses are needed"
        )
    return network
