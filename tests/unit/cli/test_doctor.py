"""`stager doctor`, at this machine and at a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from stager.cli import doctor
from stager.cli.client.api.errors import ClientError
from stager.cli.client.commands.doctor import MARKS, report
from stager.ports.diagnostics import Verdict
from stager.state import StateDirectory

RUNNER = CliRunner()
app = typer.Typer()
doctor.mount(app)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    for name in ("STAGER_CONFIG", "STAGER_ENDPOINT", "STAGER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_it_looks_at_this_machine_while_stager_doesnt_run(here: Path) -> None:
    (here / "config.yml").write_text(f"listen: 127.0.0.1:0\nengine:\n  socket: unix://{here}/docker.sock\n")
    done = RUNNER.invoke(app, ["--json"])
    found = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert found.keys() >= {"configuration", "Stager", "Docker", "disk", "port", "DNS"}
    assert found["Docker"]["verdict"] == "error"
    assert found["Stager"]["hint"] == "Start the server: `stager serve`."
    assert found["port"]["verdict"] == "ok"
    assert done.exit_code == 1


def test_a_configuration_that_is_wrong_is_a_finding(here: Path) -> None:
    (here / "config.yml").write_text("colour: red\n")
    done = RUNNER.invoke(app)
    assert done.exit_code == 1
    assert done.stdout.startswith("✗ configuration: ")
    assert "Traceback" not in done.stderr


def test_without_a_configuration_the_endpoint_is_meant(here: Path) -> None:
    done = RUNNER.invoke(app, ["--endpoint", "http://127.0.0.1:1"])
    assert done.exit_code == 3
    (here / "xdg" / "stager").mkdir(parents=True)
    (here / "xdg" / "stager" / "client.toml").write_text(
        '[endpoints.default]\nendpoint = "http://127.0.0.1:1"\n'
    )
    assert RUNNER.invoke(app).exit_code == 3


def test_only_what_is_wrong_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [{"subject": "x", "verdict": verdict, "message": "It is.", "hint": "Do."} for verdict in MARKS]
    report(findings[:2], as_json=False)
    assert capsys.readouterr().out == "✓ x: It is.\n    Do.\n! x: It is.\n    Do.\n"
    with pytest.raises(ClientError, match="1 check failed"):
        report(findings, as_json=False)


def test_what_the_server_here_says_of_itself(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"ready": False, "problems": {"engine": "Away."}, "notices": {"previews": "1 preview fails."}}
    monkeypatch.setattr(doctor, "readiness", lambda _: said)
    found = doctor._reported(StateDirectory(here))
    assert [(f.subject, f.verdict, f.message) for f in found] == [
        ("engine", Verdict.ERROR, "Away."),
        ("previews", Verdict.ERROR, "1 preview fails."),
    ]
    assert "action_failed" in found[0].hint
