"""`stager init --mcp`: what it writes, keeps, and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from stager.cli.init import mount

URL = "https://demo.example.org"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the person who runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.delenv("STAGER_ENDPOINT", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop"


def run(folder: Path, *arguments: str) -> Result:
    app = typer.Typer()
    mount(app)
    return CliRunner().invoke(app, [str(folder), "--mcp", *arguments])


def written(folder: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((folder / ".mcp.json").read_text())["mcpServers"]
    return found


def test_the_file_has_the_address_and_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGER_TOKEN", "stager_secret")

    result = run(folder, "--endpoint", f"{URL}/")

    assert result.exit_code == 0, result.output
    assert written(folder) == {
        "stager": {
            "type": "http",
            "url": f"{URL}/mcp",
            "headers": {"Authorization": "Bearer ${STAGER_TOKEN}"},
        }
    }
    assert "STAGER_TOKEN" in result.output
    assert sorted(path.name for path in folder.iterdir()) == [".mcp.json"]


def test_the_configured_server_is_the_default(folder: Path, tmp_path: Path) -> None:
    settings = tmp_path / "settings" / "stager"
    settings.mkdir(parents=True)
    (settings / "client.toml").write_text(f'[endpoints.default]\nendpoint = "{URL}"\n')

    assert run(folder).exit_code == 0
    assert written(folder)["stager"]["url"] == f"{URL}/mcp"


def test_other_servers_stay(folder: Path) -> None:
    other = {"command": "npx"}
    (folder / ".mcp.json").write_text(json.dumps({"mcpServers": {"other": other}, "more": 1}))

    assert run(folder, "--endpoint", URL).exit_code == 0
    assert run(folder, "--endpoint", URL).exit_code == 0
    assert written(folder)["other"] == other
    assert json.loads((folder / ".mcp.json").read_text())["more"] == 1


def test_another_entry_is_replaced_by_force_only(folder: Path) -> None:
    run(folder, "--endpoint", URL)

    refused = run(folder, "--endpoint", "https://other.example.org")
    assert (refused.exit_code, "--force" in refused.output) == (1, True)
    assert written(folder)["stager"]["url"] == f"{URL}/mcp"

    assert run(folder, "--endpoint", "https://other.example.org", "--force").exit_code == 0
    assert written(folder)["stager"]["url"] == "https://other.example.org/mcp"


@pytest.mark.parametrize("content", ["{", "[]", '{"mcpServers": []}'])
def test_a_file_that_is_something_else_is_left_alone(folder: Path, content: str) -> None:
    (folder / ".mcp.json").write_text(content)

    assert run(folder, "--endpoint", URL).exit_code == 1
    assert (folder / ".mcp.json").read_text() == content


def test_without_a_server_it_says_how_to_name_one(folder: Path) -> None:
    result = run(folder)

    assert result.exit_code == 1
    assert "stager configure" in result.output


def test_a_token_in_the_clear_is_warned_of(folder: Path) -> None:
    assert "no HTTPS" in run(folder, "--endpoint", "http://demo.example.org").output
    assert "no HTTPS" not in run(folder, "--endpoint", "http://localhost:8000", "--force").output
