"""A front without a control plane, for tests and pictures of its pages."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stager.domain.route import RouteTable, table_to_wire

START_SECONDS = 30.0


@contextmanager
def running_front(folder: Path, port: int, table: RouteTable) -> Iterator[None]:
    """Run a front with this route table on the loopback interface.

    Args:
        folder: its state directory, which is created.

    Raises:
        TimeoutError: it doesn't listen in time.
    """
    folder.mkdir()
    (folder / "table.json").write_text(json.dumps(table_to_wire(table)))
    command = [sys.executable, "-m", "stager.front", f"--listen=127.0.0.1:{port}", f"--state-dir={folder}"]
    with subprocess.Popen(command) as process:  # noqa: S603 (a fixed program)
        try:
            _wait_for(folder / "front.sock")
            yield
        finally:
            process.terminate()


def _wait_for(socket: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not socket.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"The front doesn't listen after {START_SECONDS:g} s.")
        time.sleep(0.02)
