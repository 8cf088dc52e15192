"""`stager config`, as people and programs call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from stager.cli.main import app

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STAGER_CONFIG", raising=False)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return tmp_path


def test_a_good_configuration_is_fine_with_its_warnings(folder: Path) -> None:
    (folder / "config.yml").write_text("images: {shop: {port: 80}}", "utf-8")
    result = RUNNER.invoke(app, ["config", "check"])

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "config.yml: valid",
        "  warning: `authentication_strategy` is missing and no forge is connected, so nothing can launch a"
        " preview. Add `authentication_strategy: BasicAuthentication` and `users`, or connect GitHub.",
    ]


def test_a_bad_configuration_fails_with_all_its_problems(folder: Path) -> None:
    (folder / "mine.yml").write_text("images: {shop: {port: 80x}}\nimagse: {}", "utf-8")
    result = RUNNER.invoke(app, ["config", "check", "--config", "mine.yml"])

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "mine.yml: 2 problems",
        '  line 1: images.shop.port: should be an integer such as 3000, not "80x"',
        '  line 2: imagse: unknown key; did you mean "images"?',
    ]


def test_problems_in_json(folder: Path) -> None:
    (folder / "config.yml").write_text("scheme: ftp", "utf-8")
    result = RUNNER.invoke(app, ["config", "check", "--json"])

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "file": "config.yml",
        "valid": False,
        "problems": [{"path": "scheme", "message": 'should be "http" or "https", not "ftp"', "line": 1}],
        "warnings": [],
    }


def test_the_variable_names_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGER_CONFIG", str(folder / "gone.yml"))
    result = RUNNER.invoke(app, ["config", "check"])

    assert result.exit_code == 1
    assert "gone.yml: 1 problem\n  can't be read: No such file or directory" in result.stderr


@pytest.mark.requirement("R23")
def test_no_configuration_is_fine() -> None:
    result = RUNNER.invoke(app, ["config", "check"])

    assert result.exit_code == 0
    assert result.stdout.startswith("No configuration file: Stager would start with the defaults.")


def test_what_is_in_force_is_shown_without_secrets(folder: Path) -> None:
    (folder / "config.yml").write_text("users: ['joe:hunter2']\nscheme: https", "utf-8")
    as_yaml = RUNNER.invoke(app, ["config", "show"])
    as_json = RUNNER.invoke(app, ["config", "show", "--json"])

    assert (as_yaml.exit_code, as_json.exit_code) == (0, 0)
    assert yaml.safe_load(as_yaml.stdout) == json.loads(as_json.stdout)
    assert yaml.safe_load(as_yaml.stdout)["scheme"] == "https"
    assert yaml.safe_load(as_yaml.stdout)["users"] == ["joe:**********"]


def test_the_schema_is_json() -> None:
    result = RUNNER.invoke(app, ["config", "schema"])

    assert result.exit_code == 0
    assert "images" in json.loads(result.stdout)["properties"]
