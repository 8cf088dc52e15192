"""Asks Docker about a container."""

from __future__ import annotations

import http
import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stager.helper.protocol import HelperError, refused
from stager.helper.verbs import failed

TIMEOUT = 10.0
"""Seconds for Docker's answer."""
MAX_ANSWER = 4 << 20
"""Bytes of Docker's answer, which usually has ten thousand."""
INSTALLATION = "stager.installation"
"""The label of Stager's containers."""


@dataclass(frozen=True, slots=True)
class PausedContainer:
    """A paused container of an installation.

    Args:
        id: the full one.
        process: the id of its first process.
        swappiness: as configured; None for the machine's.
        has_swap: whether it may use swap while it runs.
    """

    id: str
    process: int
    swappiness: int | None
    has_swap: bool


class Containers:
    """The containers of the machine's Docker.

    Args:
        address: the path of Docker's socket.
    """

    def __init__(self, address: Path) -> None:
        self._address = address

    def paused(self, installation: str, container: str) -> PausedContainer:
        """Return a container, which must be paused and belong to this installation.

        Args:
            container: its full id.

        Raises:
            HelperError: `container-unknown`, `container-awake`, `docker-away`.
        """
        found = self._inspect(container)
        # An image passes its labels on to every container that is created from it, but not the name.
        labels = (found and found["Config"]["Labels"]) or {}
        if (
            found is None
            or found["Id"] != container
            or labels.get(INSTALLATION) != installation
            or not found["Name"].startswith(f"/stager-{installation}-")
        ):
            raise refused(
                f"The installation {installation} has no container {container}.", "container-unknown"
            )
        if not found["State"]["Paused"]:
            raise failed(f"The container {container} isn't paused.", "container-awake")
        return _read(found)

    def _inspect(self, container: str) -> dict[str, Any] | None:
        connection = http.client.HTTPConnection("docker", timeout=TIMEOUT)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(TIMEOUT)
        try:
            connection.sock.connect(str(self._address))
            connection.request("GET", f"/containers/{container}/json")
            answer = connection.getresponse()
            if answer.status == http.HTTPStatus.NOT_FOUND:
                return None
            found: dict[str, Any] = json.loads(answer.read(MAX_ANSWER))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _away(self._address, error) from error
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise _away(self._address, str(found.get("message", answer.status)))
        return found


def _read(found: dict[str, Any]) -> PausedContainer:
    host = found["HostConfig"]
    swappiness = host.get("MemorySwappiness")
    return PausedContainer(
        found["Id"],
        int(found["State"]["Pid"]),
        None if swappiness is None or swappiness < 0 else int(swappiness),
        has_swap=not host["Memory"] or host["MemorySwap"] != host["Memory"],
    )


def _away(address: Path, error: object) -> HelperError:
    return failed(f"Docker doesn't answer on {address}: {error}", "docker-away")
