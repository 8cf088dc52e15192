"""What the shell offers after Tab."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import Served

WORDS = {"bash": "COMP_WORDS", "zsh": "_TYPER_COMPLETE_ARGS", "fish": "_TYPER_COMPLETE_ARGS"}


def complete(shell: str, words: str) -> str:
    """What is offered for the last of these words."""
    environ = os.environ | {
        "_STAGER_COMPLETE": f"complete_{shell}",
        WORDS[shell]: words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": words.rpartition(" ")[2],
    }
    script = "import sys; from stager.cli.main import main; sys.argv[0] = 'stager'; main()"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", WORDS)
def test_commands_and_names_of_previews(signed_in: Served, run: Run, shell: str) -> None:
    assert run("launch", "shop", "feature/x").exit_code == 0
    assert "launch" in complete(shell, "stager lau")
    assert "shop" in complete(shell, "stager kill s")
    assert "feature/x" in complete(shell, "stager kill shop fe")
    assert "feature/x" in complete(shell, "stager launch shop ")
    assert "default" in complete(shell, "stager list --endpoint d")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "nonsense"])
def test_nothing_when_it_cant_be_known(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGER_ENDPOINT", endpoint)
    assert complete("bash", "stager kill s").strip() == ""


@pytest.mark.parametrize("shell", WORDS)
def test_what_the_shell_needs_is_made(shell: str) -> None:
    environ = os.environ | {"_STAGER_COMPLETE": f"source_{shell}"}
    script = "import sys; from stager.cli.main import main; sys.argv[0] = 'stager'; main()"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "_STAGER_COMPLETE" in done.stdout
