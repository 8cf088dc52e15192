"""Launches, refreshes and ends of previews with services, with `kill -9` of Stager at random moments."""

from __future__ import annotations

import random
import time
from typing import Any

from tests.integration.stager import StagerUnderTest, until

STORE = ["python3", "-m", "http.server", "8000", "--directory", "/data"]
CONNECT = "import socket; socket.create_connection(('store', 8000), 5)"
SERVICES: dict[str, Any] = {
    "admin": {"image": "stager-test/app:1", "command": ["python3", "/server.py"], "routed": 3000},
    "store": {
        "image": "stager-base/python:1",
        "command": STORE,
        "health": {"port": 8000},
        "volumes": ["data:/data"],
    },
    "migrate": {
        "image": "stager-base/python:1",
        "command": ["python3", "-c", CONNECT],
        "job": True,
        "depends_on": {"store": "healthy"},
    },
}
"""Beside the application itself: a kept routed service, a stateful one and a job."""

NAMES = ("a", "b")
PAUSES = (0.0, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0)
"""Seconds between a request and `kill -9`: each step of a launch takes a part of a second."""


class Cycles:
    """Cycles against one Stager, whose application has `SERVICES`.

    Args:
        seed: the same seed makes the same requests and pauses.
    """

    def __init__(self, stager: StagerUnderTest, seed: int) -> None:
        self._stager = stager
        self._random = random.Random(seed)
        self._version = 0

    def run(self, count: int) -> None:
        """Run that many cycles, each ended by `kill -9` and another start."""
        for _ in range(count):
            for name in self._random.sample(NAMES, self._random.choice((1, 1, 2))):
                self._request(name)
            time.sleep(self._random.choice(PAUSES))
            self._stager.restart()
            self._stager.connect_again()
            if self._random.random() < 0.3:
                time.sleep(4 * self._random.random())

    def _request(self, name: str) -> None:
        self._version += 1
        if self._random.random() < 0.2:
            self._stager.post("/kill", image_name="shop", container_name=name, wait="0")
            return
        broken = {"EXIT": "1"} if self._random.random() < 0.2 else {}
        self._stager.launch(name, VERSION=str(self._version), wait="0", **broken)

    def settle(self) -> None:
        """Launch all previews again, and wait until they serve and nothing of before is left."""
        for name in NAMES:
            self._stager.launch(name, VERSION="last", wait="0")
        for name in NAMES:
            until(lambda name=name: self._shows(name), f"{name} shows the last version", 180)  # type: ignore[misc]
        until(lambda: self.left() == (8, 4, 2), "each preview has 4 containers, 2 networks and a volume", 90)

    def _shows(self, name: str) -> bool:
        return self._stager.get(name).text == f"{name} last"

    def remove(self) -> None:
        """End all previews, and wait until nothing is left."""
        for name in NAMES:
            self._stager.kill(name)
        until(lambda: self.left() == (0, 0, 0), "no container, network or volume is left", 90)

    def left(self) -> tuple[int, int, int]:
        """The numbers of containers, networks and volumes."""
        stager = self._stager
        return len(stager.containers()), len(stager.networks()), len(stager.volumes())
