"""`stager doctor` reports what the control plane knows of a front that doesn't start or can't save."""

from __future__ import annotations

from pathlib import Path

import pytest

from stager.cli import doctor
from stager.ports.diagnostics import Verdict
from stager.state import StateDirectory


def test_what_is_the_matter_with_the_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = {"front": "The front did not start: no space.", "nginx": "It doesn't run."}
    monkeypatch.setattr(doctor, "readiness", lambda _: {"ready": False, "problems": problems})
    findings = doctor._reported(StateDirectory(tmp_path))
    assert [(f.subject, f.verdict, f.message) for f in findings] == [
        ("front", Verdict.ERROR, "The front did not start: no space."),
        ("nginx", Verdict.ERROR, "It doesn't run."),
    ]
    assert "front.log" in findings[0].hint
    assert "front.log" not in findings[1].hint


def test_nothing_where_no_server_runs(tmp_path: Path) -> None:
    assert doctor._reported(StateDirectory(tmp_path)) == []
