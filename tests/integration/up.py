"""`stager up` in a folder, as a process."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from stager.cli.up.session import state_of
from tests.integration.stager import PATIENCE, docker


def need_image(reference: str) -> None:
    """Skip the test if Docker doesn't have this image."""
    inspect = ["docker", "image", "inspect", reference]
    if subprocess.run(inspect, capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine with the base image: scripts/test starts one and makes it")


@contextmanager
def running_up(folder: Path) -> Iterator[Up]:
    """Run `stager up` in a folder, with a state folder of its own."""
    # The state folder has sockets, whose paths must be short.
    with tempfile.TemporaryDirectory(prefix="up-") as states:
        up = Up(folder, Path(states))
        up.state.mkdir(mode=0o700, parents=True)
        (up.state / "instance_id").write_text(f"test-{secrets.token_hex(4)}")
        up.start()
        yield up
        print(up.said)
        if up.process and up.process.poll() is None:
            up.interrupt()


class Up:
    """The command in a folder."""

    def __init__(self, folder: Path, states: Path) -> None:
        self.folder = folder
        self.states = states
        self.log = states / "up.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stager", "up", self.folder, "--port", "0", *options],
                stdout=log, stderr=log, env={**os.environ, "XDG_STATE_HOME": str(self.states)},
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self.log.read_text()

    def page(self, path: str = "/") -> str:
        """What a visitor gets, at the URL that it printed last."""
        found = re.findall(r"http://(\S+?):(\d+)", self.said)
        if not found:
            return ""
        host, port = found[-1]
        try:
            return httpx.get(
                f"http://127.0.0.1:{port}{path}", headers={"Host": f"{host}:{port}"}, trust_env=False
            ).text
        except httpx.TransportError:
            return ""

    def interrupt(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)

    @property
    def state(self) -> Path:
        return self.states / "stager" / "up" / state_of(self.folder).name

    def containers(self) -> list[str]:
        """Those of its installation."""
        return docker(
            "ps", "--all", "--quiet", f"--filter=label=stager.installation={self.installation}"
        ).split()

    @property
    def installation(self) -> str:
        return (self.state / "instance_id").read_text().strip()

    def left(self) -> list[str]:
        """All with the label of its installation."""
        ours = f"--filter=label=stager.installation={self.installation}"
        kinds = (("ps", "--all"), ("network", "ls"), ("image", "ls"))
        return [found for kind in kinds for found in docker(*kind, "--quiet", ours).split()]
