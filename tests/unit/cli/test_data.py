"""`stager data`, as far as it needs no pool."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from stager.cli.data import mount


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()

    @app.callback()
    def main() -> None: ...

    mount(app)
    return app


def config(folder: Path, text: str) -> str:
    path = folder / "config.yml"
    path.write_text(f"state_dir: {folder}/state\n{text}")
    return str(path)


@pytest.mark.parametrize("size", ["", "20", "20g", "many", "-1G", "1.5G", "1GB", "٢G", "1234567G"])
def test_sizes_that_aren_t(app: typer.Typer, tmp_path: Path, size: str) -> None:
    path = config(tmp_path, "helper: auto\n")
    for command in (["grow", f"--config={path}", "--", size], ["init", f"--size={size}", f"--config={path}"]):
        result = CliRunner().invoke(app, ["data", *command])
        assert result.exit_code == 1
        assert "isn't a size such as 20G" in result.output


def test_without_the_helper(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "status", "--config", config(tmp_path, "helper: off\n")])
    assert result.exit_code == 1
    assert "`helper: off`" in result.output


def test_with_a_helper_that_doesn_t_answer(app: typer.Typer, tmp_path: Path) -> None:
    path = config(tmp_path, f"helper_socket: {tmp_path}/none.sock\n")
    result = CliRunner().invoke(app, ["data", "status", "--config", path])
    assert result.exit_code == 1
    assert "doesn't answer" in result.output


def test_with_a_broken_configuration(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "status", "--config", config(tmp_path, "colour: red\n")])
    assert result.exit_code == 1
    assert "colour" in result.output
