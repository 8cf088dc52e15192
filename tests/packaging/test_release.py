"""scripts/release, in a clone of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, URL
from tests.unit.docs.written import page_sample

LAST, NEXT = "0.1.0", "0.2.0"
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- Tea.\n"
WITHOUT_IMAGE = "--no-image"
"""tests/integration/test_container_image.py builds it."""
IDENTITY = {
    f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}
VARIABLES = {"GIT_CONFIG_GLOBAL": os.devnull, "PYTHON": sys.executable, "STAGER_REPOSITORY_URL": URL,
             "CC": "there-is-no-compiler", **IDENTITY}  # fmt: skip


class Clone:
    """A clone with what the checkout has now, committed, as of version `LAST`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        self.write("CHANGELOG.md", CHANGELOG)
        self.write("src/stager/version.py", f'__version__ = "{LAST}"\n')
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit("Everything")

    def git(self, *arguments: str) -> str:
        variables = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        done = subprocess.run(
            ["git", *who, *arguments],
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run([str(self.folder / "scripts" / "release"), *arguments])

    def typed(self, command: str) -> str:
        """What a command prints in the clone."""
        done = self._run(["bash", "-ec", command])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=os.environ | VARIABLES, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "stager")


def test_a_release_is_a_commit_a_tag_and_packages(clone: Clone) -> None:
    done = clone.release(NEXT, WITHOUT_IMAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert clone.git("log", "-1", "--format=%s") == f"Release {NEXT}"
    assert clone.git("rev-parse", f"v{NEXT}^{{commit}}") == clone.git("rev-parse", "HEAD")
    assert clone.git("status", "--porcelain") == ""
    assert f'__version__ = "{NEXT}"' in (clone.folder / "src/stager/version.py").read_text()
    changelog = (clone.folder / "CHANGELOG.md").read_text()
    dated = re.sub(r"\d{4}-\d\d-\d\d", "DATE", changelog)
    assert dated == CHANGELOG.replace("[Unreleased]", f"[Unreleased]\n\n## [{NEXT}] - DATE")
    dist = clone.folder / "dist" / NEXT
    sums = (dist / "SHA256SUMS").read_text()
    assert {file.name for file in dist.iterdir()} == {
        "SHA256SUMS", f"stager-{NEXT}.tar.gz", f"stager-{NEXT}-py3-none-any.whl",
    }  # fmt: skip
    assert all(file.name in sums for file in dist.iterdir() if file.name != "SHA256SUMS")


def test_a_dry_run_changes_nothing_and_shows_the_changes(clone: Clone) -> None:
    before = clone.git("rev-parse", "HEAD")
    done = clone.release(NEXT, "--dry-run", WITHOUT_IMAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"would release {NEXT}, after {LAST}" in done.stdout
    assert "    - Tea.\n" in done.stdout
    assert (clone.git("rev-parse", "HEAD"), clone.git("tag"), clone.git("status", "--porcelain")) == (
        before,
        "",
        "",
    )
    assert not (clone.folder / "dist").exists()


def refused(clone: Clone, *arguments: str) -> str:
    """What a release says that doesn't happen."""
    before = clone.git("rev-parse", "HEAD")
    done = clone.release(*arguments, WITHOUT_IMAGE)
    assert done.returncode == 1, done.stdout + done.stderr
    assert clone.git("rev-parse", "HEAD") == before
    return done.stderr


def test_mistakes_are_refused_with_what_to_do(clone: Clone) -> None:
    assert "not a version" in refused(clone, "next")
    assert "usage:" in refused(clone)
    assert "no option --sign" in refused(clone, NEXT, "--sign")
    assert f"older than {LAST}" in refused(clone, f"{LAST}rc1")
    clone.git("tag", f"v{NEXT}")
    assert f"tag v{NEXT} exists" in refused(clone, NEXT)
    clone.write("new.txt", "not committed")
    assert "new.txt" in refused(clone, "0.3.0")
    clone.write("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n")
    clone.commit("Forget the changes")
    assert "[Unreleased] of CHANGELOG.md is empty" in refused(clone, "0.3.0")


def test_the_pages_commands(clone: Clone) -> None:
    """As written, but for the image."""
    said = clone.typed(page_sample("release.md", "scripts/release 0.2.0 --dry-run"))
    assert "- Tea." in said
    assert clone.git("tag") == ""
    clone.typed(f"{page_sample('release.md', 'STAGER_REPOSITORY_URL=').strip()} {WITHOUT_IMAGE}")
    assert clone.git("tag") == f"v{NEXT}"
