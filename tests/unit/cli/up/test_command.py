"""The command itself: usage errors, and questions at a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from stager.cli.up import command
from stager.cli.up.terminal import StandardTerminal, listed

RUNNER = CliRunner()
PATIENCE = 60.0
app = typer.Typer()
command.mount(app)


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["nowhere"], "stager: There is no folder"),
        ([".", "--name", "///"], "stager: --name: expected letters or digits"),
    ],
)
def test_usage_errors(options: list[str], sentence: str) -> None:
    done = RUNNER.invoke(app, options)
    assert done.exit_code == 1
    assert done.stderr.startswith(sentence)


def test_what_cannot_be_prepared_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.12\nEXPOSE 1\n")
    assert run(tmp_path, "--env", "A-B=kx7").startswith("stager: --env: expected NAME=VALUE")
    (tmp_path / ".stager.yml").write_text("prot: 1\nhealthpath: /\n")
    said = run(tmp_path)
    assert "line 1: prot" in said
    assert "line 2: healthpath" in said


def run(folder: Path, *options: str) -> str:
    """What the command says before it fails."""
    command_line = [sys.executable, "-m", "stager", "up", str(folder), *options]
    done = subprocess.run(command_line, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 1
    assert "kx7" not in done.stdout + done.stderr
    return done.stderr


def test_the_prompt_for_the_port_comes_before_the_build(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.12\nCMD serve\n")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "stager", "up", str(tmp_path)], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        said = read_until(ours, "On which port does the application listen?")
        os.write(ours, b"http\n")
        said = read_until(ours, "Enter a number from 1 to 65535.")
        process.terminate()
        assert process.wait(PATIENCE) != 0
        assert "building" not in said
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(descriptor: int, text: str) -> str:
    """What a terminal shows, until it shows this."""
    shown, deadline = "", time.monotonic() + PATIENCE
    while text not in shown:
        assert time.monotonic() < deadline, shown
        shown += os.read(descriptor, 4096).decode()
    return shown


@pytest.mark.attack(
    "A file's name or a build's log contains control sequences of the terminal of `stager up`",
    profile="repository's own code",
    result="they are removed",
)
def test_control_sequences_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    StandardTerminal().say("one\x1b[2J\rtwo\x07\n\x1b]0;title\x07three")
    assert capsys.readouterr().out == "two\ufffd\nthree\n"


def test_long_lists_are_shortened() -> None:
    assert listed(["a", "b", "c"], most=2) == "a, b and 1 more"
