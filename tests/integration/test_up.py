"""`stager up`: the real command, in a folder with a Dockerfile, until Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stager import until
from tests.integration.up import Up, need_image, running_up

DOCKERFILE = """\
FROM stager-base/static:1
COPY site /site
USER 1000:1000
EXPOSE 8080
CMD ["httpd", "-f", "-p", "8080", "-h", "/site"]
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    need_image("stager-base/static:1")
    folder = tmp_path / "low-tide"
    (folder / "site").mkdir(parents=True)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "site" / "index.html").write_text("first")
    with running_up(folder) as up:
        yield up


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
