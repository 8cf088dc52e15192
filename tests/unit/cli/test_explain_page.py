"""The how-to page of Compose files: what `stager explain` prints is what the page shows."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.testing import CliRunner

from stager.cli.explain import mount
from tests.unit.docs.pages import DOCS, ROOT, samples
from tests.unit.docs.written import page_sample, typed

PAGE = DOCS / "how-to" / "run-a-compose-file.md"


def test_the_example(tmp_path: Path) -> None:
    compose, sample, refused = [each.text for each in samples("text") if ROOT / each.page == PAGE]
    files = {"compose.yaml": compose, ".env.example": sample, ".stager.yml": "compose: true\n"}
    for name, text in {**files, "Dockerfile": "FROM python\nWORKDIR /app\nCOPY . .\n"}.items():
        (tmp_path / name).write_text(text)
    [(command, lines)] = typed(page_sample("run-a-compose-file.md", "$ stager explain"))
    assert command == "stager explain"
    app = typer.Typer()
    mount(app)
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 0
    assert result.output.splitlines() == lines
    socket = "/var/run/docker.sock:/var/run/docker.sock"
    text = f"services:\n  proxy:\n    image: traefik\n    volumes:\n      - {socket}\n"
    (tmp_path / "compose.yaml").write_text(text)
    assert refused in CliRunner().invoke(app, [str(tmp_path)]).output
