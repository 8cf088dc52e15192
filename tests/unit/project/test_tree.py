"""The view of a repository's files, whose content is untrusted."""

from __future__ import annotations

import os
from pathlib import Path

from stager.project import tree as module
from stager.project.tree import Tree
from tests.unit.project.conftest import MakeTree


def test_files_come_folder_by_folder(tree: MakeTree) -> None:
    found = tree({"b.txt": "", "a/c.txt": "", "node_modules/x/package.json": "{}", ".git/config": ""})
    assert found.files == ("b.txt", "a/c.txt")
    assert found.matching("*.txt") == found.files


def test_links_out_of_the_repository_are_missing(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "repository"
    root.mkdir()
    (root / "Procfile").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    found = Tree(root)
    for path in ("Procfile", "up/secret", "loop", "../secret", str(tmp_path / "secret")):
        assert not found.has(path)
        assert found.text(path) == ""
    assert not found.has_folder("up")


def test_a_link_within_the_repository_is_followed(tree: MakeTree) -> None:
    found = tree({"config/Procfile": "web: x"})
    (found.root / "Procfile").symlink_to("config/Procfile")
    assert found.text("Procfile") == "web: x"


def test_unusual_files_are_empty(tree: MakeTree) -> None:
    found = tree({"large": "x" * (module.MAX_TEXT + 1), "folder/x": ""})
    os.mkfifo(found.root / "fifo")
    (found.root / "binary").write_bytes(b"\xff\xfe\x00")
    assert [found.text(name) for name in ("large", "folder", "fifo", "binary", "none", "a\0b")] == [""] * 6


def test_a_view_of_a_folder(tree: MakeTree) -> None:
    outer = tree({"web/package.json": "{}", "api/x.py": ""})
    inner = outer.below("web")
    assert inner.files == ("package.json",)
    assert inner.has("../api/x.py"), "still in the repository"
    assert not inner.has("../../x")


def test_the_number_of_files_is_limited(tree: MakeTree) -> None:
    found = tree({f"{n}.txt": "" for n in range(20)})
    module_limit = module.MAX_FILES
    try:
        module.MAX_FILES = 7
        assert len(found.files) == 7
    finally:
        module.MAX_FILES = module_limit
