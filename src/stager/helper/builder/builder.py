"""The builder for untrusted code: a Docker engine of its own, started when it is wanted.

Where it lies, how large its disk is and which programs run it is said on the helper's command line. A caller
can start it and stop it, and nothing else.
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

NEEDED = ("unshare", "mount", "pivot_root", "setpriv", "mkfs.ext4", "ip", "iptables")
HUNG = 10.0
"""Seconds after which an engine that doesn't answer is started again."""
LEAST_ADDRESSES = 4
"""Of a link: both ends, and two that are reserved."""
SOCKET = "builder.sock"
"""Lies beside the helper's own."""


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
            help="where its disk lies; default: %(default)s",
        )  # fmt: skip
        group.add_argument(
            "--builder-size", type=disk.size, default=20 << 30, metavar="SIZE",
            help="how large its disk is, such as 40G; the file grows with use; default: 20G",
        )  # fmt: skip
        group.add_argument(
            "--builder-programs", type=Path, default=Path("/usr/libexec/stager/docker"), metavar="FOLDER",
            help="where its dockerd and containerd lie, if the system's aren't used; default: %(default)s",
        )  # fmt: skip
        group.add_argument(
            "--builder-network", type=link_network, default=IPv4Network("198.18.255.252/30"),
            metavar="NETWORK", help="its network, of four addresses; default: %(default)s",
        )  # fmt: skip

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Builder:
        """See `Feature.of`."""
        return cls(arguments)

    def unavailable(self) -> str:
        """See `Feature.unavailable`."""
        if os.geteuid() != 0:
            return "The helper doesn't run as root."
        missing = [name for name in NEEDED if shutil.which(name) is None]
        if missing:
            return f"There is no {', '.join(missing)} here."
        if not Path("/dev/loop-control").exists():
            return "There are no loop devices here, so the builder's disk can't be bounded."
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

    def meet(self, others: Sequence[Feature]) -> None:
        """See `Feature.meet`: the firewall, without which the builder isn't started."""
        self._firewall = next((other for other in others if isinstance(other, Firewall)), None)

    def start(self) -> None:
        """See `Feature.start`: end what a killed helper left."""
        if os.geteuid() == 0:
            self._process.end_left_over()
            self._link.remove()

    def tick(self) -> None:
        """See `Feature.tick`: leave nothing of one that ended by itself, and none without the firewall."""
        if self._process.engine is not None:
            self._keep_guarded()
        elif self._process.was_started:
            log.warning("the builder has ended by itself; its log is in %s", self._folder)
            self._end()

    def stop(self) -> None:
        """See `Feature.stop`."""
        self._end()

    def _start(self, given: Mapping[str, Any]) -> Result:
        """Have it run, with the firewall's rules in place first."""
        del given
        if why := self.unavailable():
            raise HelperError(why, kind="fault", reason="builder-unavailable")
        self._guard()
        if self._process.engine is not None and self._process.answers(HUNG):
            self._link.keep_open()
        else:
            self._end()
            self._begin()
        return {"socket": str(self._socket), "size": self._size, "free": self._free()}

    def _stop(self, given: Mapping[str, Any]) -> Result:
        del given
        was = self._process.was_started
        self._end()
        return {"stopped": was}

    def _guard(self) -> None:
        """Have the firewall's rules in place. Raises `HelperError`."""
        if self._firewall is None:
            raise failed("This helper has no firewall, so it starts no builder.", "builder-unguarded")
        try:
            self._firewall.ensure()
        except HelperError as error:
            raise failed(
                f"The builder for untrusted code isn't started without the firewall: {error.message}",
                "builder-unguarded",
                error.hint,
            ) from error

    def _keep_guarded(self) -> None:
        try:
            self._guard()
        except HelperError as error:
            log.warning("%s", error.message)
            self._end()
        else:
            self._link.keep_open()

    def _begin(self) -> None:
        programs = folder_of_engine(self._programs)
        disk.make(self._folder, self._size)
        room = Sandbox(self._folder, programs, self._inside, self._link.outside, self._size)
        room.write_files()
        try:
            with self._process.start(room.command(), self._user) as engine:
                self._link.make(engine)
        except HelperError:
            self._link.remove()
            raise
        log.info("the builder for untrusted code runs as process %s", self._process.engine)

    def _end(self) -> None:
        if self._process.was_started:
            self._process.end()
            self._link.remove()
            log.info("the builder for untrusted code has ended")

    def _free(self) -> int:
        """Bytes that its disk has left, in itself and on the disk that it lies on."""
        inside = os.statvfs(f"/proc/{self._process.engine}/root/data")
        return min(inside.f_bavail * inside.f_frsize, shutil.disk_usage(self._folder).free)


def link_network(text: str) -> IPv4Network:
    """A network of at least four addresses. Raises argparse.ArgumentTypeError."""
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} isn't an IPv4 network") from error
    if network.num_addresses < LEAST_ADDRESSES:
        raise argparse.ArgumentTypeError(f"{text} has no room for both ends of a link")
    return network
