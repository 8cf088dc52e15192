"""Many large unsigned bodies at once: neither process keeps them in its memory."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.pulls import Pull
from tests.integration.stager import StagerUnderTest

CONNECTIONS = 30
SIZE = 24 << 20
PIECE = b"x" * 65536
MEGABYTE = 1 << 20

UNSIGNED = ""
MALFORMED = "X-Hub-Signature-256: sha256=x\r\n"
GUESSED = f"X-Hub-Signature-256: sha256={'0' * 64}\r\n"


def resident(process: int) -> float:
    """Megabytes of memory that the process has."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) / 1024


class Figures:
    """The memory of both processes: before, at most, and afterwards."""

    def __init__(self, stager: StagerUnderTest) -> None:
        self._processes = {"control": stager.control_pid, "front": stager.front_pid}
        self.before = self._now()
        self.most = dict(self.before)
        self.after: dict[str, float] = {}
        self._over = threading.Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look often while this goes on, and once more a while after it."""
        watcher = threading.Thread(target=self._watch)
        watcher.start()
        try:
            yield
        finally:
            self._over.set()
            watcher.join()
        time.sleep(2)
        self.after = self._now()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.most = {name: max(self.most[name], mb) for name, mb in self._now().items()}

    def _now(self) -> dict[str, float]:
        return {name: resident(process) for name, process in self._processes.items()}

    def __str__(self) -> str:
        return "; ".join(
            f"{name} {self.before[name]:.0f} MB, at most {self.most[name]:.0f}, then {self.after[name]:.0f}"
            for name in self._processes
        )


def send(port: int, headers: str) -> int:
    """The status of the answer to a delivery of 24 MB, sent as fast as it is taken."""
    head = (
        f"POST /event_receiver HTTP/1.1\r\nHost: localhost:{port}\r\nX-GitHub-Event: ping\r\n{headers}"
        f"Content-Type: application/json\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with suppress(OSError):
            connection.sendall(head.encode())
            for _ in range(SIZE // len(PIECE)):
                connection.sendall(PIECE)
        with suppress(OSError):
            if answer := connection.recv(4096):
                return int(answer.split()[1])
    return 0


@pytest.mark.attack(
    "Thirty bodies of 24 MB at the same time, without a valid signature",
    profile="sender of webhooks",
    result="memory use stays small, and a delivery of the forge is accepted meanwhile",
)
@pytest.mark.parametrize("headers", [UNSIGNED, MALFORMED, GUESSED], ids=["unsigned", "malformed", "guessed"])
def test_the_memory_stays_small(stager: StagerUnderTest, headers: str) -> None:
    send(stager.port, headers)
    figures = Figures(stager)
    with figures.watched(), ThreadPoolExecutor(CONNECTIONS) as clients:
        statuses = Counter(clients.map(lambda _: send(stager.port, headers), range(CONNECTIONS)))
        answer = stager.deliver(Pull().opened())

    print(f"{figures}; answers {dict(statuses)}")
    assert answer.status_code == 202, "a delivery of GitHub's is taken meanwhile"
    assert set(statuses) <= {0, 401, 503}
    for name, mb in figures.before.items():
        assert figures.most[name] - mb < 60, str(figures)
        assert figures.after[name] - mb < 40, str(figures)
