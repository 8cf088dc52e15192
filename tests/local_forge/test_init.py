"""`stager forge init`: what it makes, and what it says to do next."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stager.cli.main import app
from stager.forges.local.push_client import AWAY
from stager.settings.loading.loader import load
from tests.local_forge.workshop import Clone


def init(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["forge", "init", *map(str, arguments)])


def test_makes_a_repository_that_can_be_pushed_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = init("git/shop.git")
    bare = tmp_path / "git" / "shop.git"

    assert (done.exit_code, done.output.splitlines()[0]) == (0, f"Created {bare}.")
    lines = done.output.partition("restart Stager:\n\n")[2].partition("\n\n")[0]
    (tmp_path / "config.yml").write_text(lines)
    loaded = load(tmp_path / "config.yml", environ={})
    assert loaded.settings.local_forge == {"shop": bare}
    assert loaded.warnings == ()
    assert f"git remote add stager {bare}" in done.output
    clone = Clone(tmp_path / "clone", bare)
    clone.branch("x")
    assert clone.push("main", "x") == [AWAY]


def test_takes_in_one_that_is_there_and_configured(tmp_path: Path) -> None:
    bare, config = tmp_path / "store.git", tmp_path / "config.yml"
    config.write_text(f"local_forge: {{shop: {bare}}}\nimages: {{shop: {{port: 80}}}}\n")
    assert init(bare, "--app", "shop", "--config", config).exit_code == 0
    secret = (bare / "stager" / "secret").read_text()
    again = init(bare, "--app", "shop", "--config", config)

    assert again.output.splitlines()[0] == f"Registered {bare}."
    assert "local_forge:" not in again.output
    assert (bare / "stager" / "secret").read_text() == secret


def test_refuses_what_isnt_a_bare_repository(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary").write_text("Dear diary")
    done = init(tmp_path / "notes")

    assert (done.exit_code, "isn't a bare repository" in done.output) == (1, True)
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["diary"]
