"""Commands for a running server work in a shell that lacks the variables of its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from stager.cli.main import app

CONFIGURATION = "images: {shop: {port: 80, env: {KEY: '${STRIPE_KEY}'}}}\nstate_dir: state\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRIPE_KEY", raising=False)
    monkeypatch.delenv("STAGER_CONFIG", raising=False)
    (tmp_path / "config.yml").write_text(CONFIGURATION)
    return tmp_path


@pytest.mark.parametrize(("command", "says"), [("status", "not running"), ("stop", "wasn't running")])
def test_status_and_stop_work_without_a_variable(command: str, says: str) -> None:
    output = CliRunner().invoke(app, [command]).output
    assert says in output
    assert "STRIPE_KEY" not in output


def test_what_needs_the_whole_configuration_names_the_variable() -> None:
    done = CliRunner().invoke(app, ["config", "check"])
    assert done.exit_code == 1
    assert "line 1: images.shop.env.KEY: the environment variable STRIPE_KEY isn't set" in done.stderr
