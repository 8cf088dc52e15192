"""Repositories for the tests of detection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from stager.project.tree import Tree

MakeTree = Callable[[Mapping[str, str]], Tree]


@pytest.fixture
def tree(tmp_path: Path) -> MakeTree:
    """Makes a repository of these files."""

    def make(files: Mapping[str, str]) -> Tree:
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return Tree(tmp_path)

    return make
