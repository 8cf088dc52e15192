"""Opening a browser. What there is to open is found once in a process, so each test has one of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.stager import PATIENCE, until

CODE = "from stager.cli.client.auth import browser; browser.VERDICT = {}; print(browser.open_at({!r}))"


def opened(folder: Path, name: str, script: str, url: str = "http://x.test/", verdict: float = 60.0) -> str:
    """What comes of opening this URL with a browser that is this script, and has so long to fail."""
    browser = folder / name
    browser.write_text(f"#!/bin/sh\n{script}\n")
    browser.chmod(0o755)
    environ = {**os.environ, "BROWSER": name, "PATH": f"{folder}:{os.environ['PATH']}"}
    command = [sys.executable, "-c", CODE.format(verdict, url)]
    done = subprocess.run(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True,
        timeout=PATIENCE,
    )  # fmt: skip
    return done.stdout


def test_a_browser_that_stays_open_doesnt_block(tmp_path: Path) -> None:
    # It has no output of ours, whose end the test waits for.
    script = f"echo $$ >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec >/dev/null 2>&1 sleep 600"
    assert opened(tmp_path, "mine", script, verdict=0.2) == "True\n"
    pid = tmp_path / "pid"
    until(pid.exists, "it runs")
    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_a_browser_in_the_terminal_has_it_until_it_ends(tmp_path: Path) -> None:
    said = opened(tmp_path, "w3m", "sleep 1; echo read", verdict=0.2)
    assert said == "read\nTrue\n"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "javascript:alert(1)"])
def test_what_isnt_a_web_page_isnt_opened(tmp_path: Path, url: str) -> None:
    assert opened(tmp_path, "mine", "echo opened", url=url) == f"{url} isn't a web page.\nFalse\n"


def test_no_browser_is_reported(tmp_path: Path) -> None:
    assert opened(tmp_path, "mine", "exit 1").endswith("No browser could be opened.\nFalse\n")
