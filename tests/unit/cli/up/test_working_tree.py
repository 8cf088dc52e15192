"""What `stager up` commits of a folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stager.cli.up.working_tree import WorkingTree


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


def repository(folder: Path, **files: str) -> Path:
    folder.mkdir()
    git(folder, "init", "--quiet")
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "First")
    return folder


async def committed(tree: WorkingTree) -> dict[str, str]:
    """The files of the newest commit, with their content."""
    await tree.begin()
    await tree.commit()
    names = git(tree.repository, "ls-tree", "-r", "--name-only", tree.ref).splitlines()
    return {name: git(tree.repository, "show", f"{tree.ref}:{name}") for name in names}


@pytest.mark.parametrize("is_repository", [True, False])
async def test_local_variables_are_left_out(tmp_path: Path, is_repository: bool) -> None:
    folder = tmp_path / "a"
    if is_repository:
        repository(folder)
    for name in (".env", ".env.local", ".env.test.local", ".env.example", "web/.env"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("A=1")
    files = await committed(WorkingTree(folder, tmp_path / "files.git", "a"))
    assert {name for name in files if name.startswith((".env", "web"))} == {".env.example"}


async def test_an_unignored_rule_does_not_bring_them_back(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("!.env\n")
    (tmp_path / ".env").write_text("A=1")
    files = await committed(WorkingTree(tmp_path, tmp_path.parent / f"{tmp_path.name}.git", "a"))
    assert ".env" not in files


async def test_those_of_the_repository_are_included(tmp_path: Path) -> None:
    folder = repository(tmp_path / "a", **{".env": "PUBLIC=1", "page": "x"})
    (folder / ".env").write_text("PUBLIC=2")
    tree = WorkingTree(folder, tmp_path / "files.git", "a")
    assert await committed(tree) == {".env": "PUBLIC=2", "page": "x"}
    (folder / ".env").unlink()
    assert await tree.commit()
    assert git(tree.repository, "ls-tree", "--name-only", tree.ref).split() == ["page"]


async def test_files_of_submodules_are_included(tmp_path: Path) -> None:
    inner = repository(tmp_path / "inner", deep="1")
    theme = repository(tmp_path / "theme", style="1")
    git(theme, "submodule", "--quiet", "add", str(inner), "lib")
    git(theme, "commit", "--quiet", "-m", "Second")
    site = repository(tmp_path / "site", page="1")
    git(site, "submodule", "--quiet", "add", str(theme), "theme")
    git(site, "submodule", "--quiet", "update", "--init", "--recursive")
    (site / "theme" / "style").write_text("2")
    (site / "theme" / ".env").write_text("A=1")
    before = git(site, "status", "--porcelain", "--ignore-submodules=none")
    tree = WorkingTree(site, tmp_path / "files.git", "a")
    files = await committed(tree)
    assert files["theme/style"] == "2"
    assert files["theme/lib/deep"] == "1"
    assert "theme/.env" not in files
    assert await tree.commit() is None
    (site / "theme" / "style").write_text("3")
    assert await tree.commit() is not None
    assert git(site, "status", "--porcelain", "--ignore-submodules=none") == before


async def test_files_over_those_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "page").write_text("own")
    files = {"page": b"other", "web/Dockerfile": b"FROM x"}
    tree = WorkingTree(folder, tmp_path / "files.git", "a", lambda: files)
    assert await committed(tree) == {"page": "other", "web/Dockerfile": "FROM x"}
    assert (folder / "page").read_text() == "own"
    files["page"] = b"third"
    assert await tree.commit() is not None
    files.clear()
    assert await tree.commit() is not None
    assert git(tree.repository, "show", f"{tree.ref}:page") == "own"
