"""Whatever a repository has: the reader never raises, and opens no file outside of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stager.project.compose import Options, read
from stager.project.tree import Tree
from tests.unit.project.compose.any_file import FILES, ROUNDS
from tests.unit.project.compose.cases import written

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("seed", range(2))
def test_any_file(seed: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.unit.project.compose.any_file", str(tmp_path), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) == 2 * ROUNDS


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"\xef\xbb\xbfservices: {a: {image: b}}", bytes(range(256))]
)
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "compose.yaml").write_bytes(content)
    assert read(Tree(tmp_path))


@pytest.mark.parametrize("name", ["a" * 300, "\0", "a\nb", "\udcff", "folder", "/", "."])
def test_any_path(tmp_path: Path, name: str) -> None:
    tree = written(tmp_path, FILES)
    found = read(tree, Options(path=name))
    assert found
    assert found.refusals


@pytest.mark.parametrize("name", ["a" * 300, "\\0", "a\\nb", "\\ud800"])
def test_any_path_in_a_file(tmp_path: Path, name: str) -> None:
    text = f'services: {{app: {{image: a, env_file: "{name}", volumes: ["./{name}:/x"], build: "{name}"}}}}\n'
    assert read(written(tmp_path, {"compose.yaml": text}))
