"""The verb `memory-reclaim`. Callers name a container; the helper finds its control group."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stager.helper.memory.cgroups import Cgroups, find_cgroups
from stager.helper.memory.containers import Containers, PausedContainer
from stager.helper.protocol import HelperError
from stager.helper.shapes import fields, installation, text
from stager.helper.verbs import Feature, Result, Verb, absolute, failed

DOCKER = Path("/var/run/docker.sock")
RECLAIM_TIMEOUT = 120.0
"""Seconds. 30 MB take less than 0.3, most of them for the disk of the swap file."""


class Memory(Feature):
    """Moves the memory of paused containers to swap.

    Args:
        docker: the path of Docker's socket.
    """

    name = "memory"

    def __init__(self, cgroups: Cgroups, docker: Path = DOCKER) -> None:
        self._cgroups = cgroups
        self._containers = Containers(docker)

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """See `Feature.add_arguments`."""
        group = parser.add_argument_group("memory of paused containers")
        group.add_argument(
            "--docker-socket", type=absolute, default=DOCKER, metavar="PATH",
            help="Docker's socket; default: %(default)s",
        )  # fmt: skip

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Memory:
        """See `Feature.of`."""
        return cls(find_cgroups(), arguments.docker_socket)

    def unavailable(self) -> str:
        """See `Feature.unavailable`."""
        if os.geteuid() != 0:
            return "The helper isn't running as root."
        return self._cgroups.lack

    def verbs(self) -> Iterable[Verb]:
        """See `Feature.verbs`."""
        container = text(r"[0-9a-f]{64}", "the full id of a container")
        shape = fields(installation=installation, container=container)
        yield Verb("memory-reclaim", shape, self._reclaim, self.name, timeout=RECLAIM_TIMEOUT)

    def _reclaim(self, values: Mapping[str, Any]) -> Result:
        return {"bytes": self.reclaim(values["installation"], values["container"])}

    def reclaim(self, installation: str, container: str) -> int:
        """Move the memory of a paused container to swap. Returns the bytes that it gave back.

        Args:
            container: its full id.

        Raises:
            HelperError: it isn't paused, or isn't one of this installation; the kernel refuses.
        """
        if lack := self.unavailable():
            raise HelperError(lack, kind="fault", reason="no-memory-controller")
        found = self._containers.paused(installation, container)
        group = self._cgroups.group_of(found.process, container)
        if group is None:
            raise failed(f"The control group of the container {container} can't be found.", "group-unknown")
        try:
            return self._cgroups.reclaim(group, self._closed(found))
        except OSError as error:
            raise failed(
                f"The kernel can't reclaim the memory of the container {container}: {error.strerror}.",
                "reclaim-failed",
            ) from error

    def _closed(self, container: PausedContainer) -> str:
        """What limits the container's use of swap while it runs; empty if nothing does."""
        if self._cgroups.version == 1:
            return "" if container.swappiness is None else str(container.swappiness)
        return "" if container.has_swap else "0"
