"""`stager up`: the real command, in a folder with a Dockerfile, until Ctrl-C."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stager.cli.up.session import state_of
from tests.integration.stager import PATIENCE, docker, until

DOCKERFILE = """\
FROM stager-base/static:1
COPY site /site
USER 1000:1000
EXPOSE 8080
CMD ["httpd", "-f", "-p", "8080", "-h", "/site"]
"""


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
        """What a visitor gets, at the URL that it said last."""
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
        """Whatever bears the label of its installation."""
        ours = f"--filter=label=stager.installation={self.installation}"
        kinds = (("ps", "--all"), ("network", "ls"), ("image", "ls"))
        return [found for kind in kinds for found in docker(*kind, "--quiet", ours).split()]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    inspect = ["docker", "image", "inspect", "stager-base/static:1"]
    if subprocess.run(inspect, capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine with the base image: scripts/test starts one and makes it")
    folder = tmp_path / "low-tide"
    (folder / "site").mkdir(parents=True)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "site" / "index.html").write_text("first")
    # Sockets go there, whose paths may only be short.
    with tempfile.TemporaryDirectory(prefix="up-") as states:
        up = Up(folder, Path(states))
        up.state.mkdir(mode=0o700, parents=True)
        (up.state / "instance_id").write_text(f"test-{secrets.token_hex(4)}")
        up.start()
        yield up
        print(up.said)
        if up.process and up.process.poll() is None:
            up.interrupt()


def test_a_folder_is_previewed_while_it_changes(up: Up) -> None:
    until(lambda: up.page() == "first", "it is live")
    assert "http://low-tide.localhost:" in up.said
    (up.folder / ".gitignore").write_text("*.tmp\n")
    (up.folder / "site" / "index.html").write_text("second")
    until(lambda: up.page() == "second", "a change is shown")
    (up.folder / "Dockerfile").write_text("FROM stager-base/static:1\nRUN echo no such table; exit 3\n")
    until(lambda: "failed-update" in up.said, "a broken build is told")
    until(lambda: "no such table" in up.said.partition("failed-update")[2], "with the build's last lines")
    assert "exit code 3" in up.said
    assert up.page() == "second"

    assert up.interrupt() == 0
    assert up.left() == []
    assert not (up.state / "files.git").exists()
    assert not (up.folder / ".git").exists()


def test_what_a_killed_one_left_is_taken_over(up: Up) -> None:
    until(lambda: up.page() == "first", "it is live")
    assert up.process
    up.process.kill()
    up.process.wait()
    assert up.left()
    (up.folder / "site" / "index.html").write_text("second")
    up.start()
    until(lambda: up.page() == "second", "it is live again")
    assert up.interrupt() == 0
    assert up.left() == []


def test_what_a_killed_one_with_another_name_left_is_removed(up: Up) -> None:
    until(lambda: up.page() == "first", "it is live")
    assert up.process
    up.process.kill()
    up.process.wait()
    (before,) = up.containers()
    up.start("--name", "High Tide")
    until(lambda: "http://high-tide.localhost:" in up.said and up.page() == "first", "it is live again")
    until(lambda: before not in up.containers(), "the other one is removed")
    assert up.interrupt() == 0
    assert up.left() == []


def test_one_folder_has_one(up: Up) -> None:
    until(lambda: up.said, "it has begun")
    again = [sys.executable, "-m", "stager", "up", str(up.folder)]
    done = subprocess.run(
        again,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_STATE_HOME": str(up.states)},
    )
    assert (done.returncode, "Another Stager" in done.stderr) == (1, True)


def test_a_folder_without_a_dockerfile(tmp_path: Path) -> None:
    up = [sys.executable, "-m", "stager", "up", str(tmp_path)]
    done = subprocess.run(up, capture_output=True, text=True, check=False)
    assert (done.returncode, "There is no Dockerfile in" in done.stderr) == (1, True)
