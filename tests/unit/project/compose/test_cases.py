"""Compose files in the shapes that real ones have."""

from __future__ import annotations

from pathlib import Path

import pytest

from stager.project.compose import read
from tests.unit.project.compose.cases import CASES, shown


@pytest.mark.parametrize("name", CASES)
def test_a_case(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = read(case.write(tmp_path), case.options)
    assert found
    assert shown(found) == case.expected


def test_most_cases_run() -> None:
    assert len(CASES) >= 40
    assert sum("\nrefusals:" in case.expected for case in CASES.values()) <= 2
