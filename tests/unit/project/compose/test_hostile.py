"""Hostile and odd Compose files: each is refused with file and line, or runs without what it asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from stager.project.compose import Reading, read
from stager.project.compose.result import Refusal
from stager.project.tree import Tree
from tests.unit.project.compose.cases import options_of, shown, written
from tests.unit.project.compose.hostile import FILES, HOSTILE


def reading(name: str, folder: Path) -> Reading:
    """Read one of the files."""
    case = HOSTILE[name]
    written(folder, {**FILES, "compose.yaml": case.text, **case.files})
    for path, target in case.links.items():
        (folder / path).symlink_to(target)
    found = read(Tree(folder), options_of(case.options))
    assert found
    return found


def is_expected(refusal: Refusal, expected: str) -> bool:
    """Whether a refusal is `LINE: beginning`, in `compose.yaml` unless it names another file."""
    at = f"{refusal.place.line}: {refusal.text}"
    return at.startswith(expected) or f"{refusal.place.file}:{at}".startswith(expected)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGER_SECRET_X", "of-the-server")
    monkeypatch.setenv("HOME", "/home/of-the-server")
    found, expected = reading(name, tmp_path), HOSTILE[name].refusals
    said = [str(each) for each in found.refusals]
    assert len(said) == len(expected), said
    for refusal, each in zip(found.refusals, expected, strict=True):
        assert is_expected(refusal, each), said
    assert (found.stack is None) == bool(expected)
    assert "of-the-server" not in shown(found)
    assert str(tmp_path) not in shown(found)


def test_there_are_enough() -> None:
    assert len(HOSTILE) >= 60
