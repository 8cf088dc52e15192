"""Installation in a clone and by pipx, with the commands of the README and the how-to pages as written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.test_release import Clone
from tests.unit.docs.written import page_sample
from tests.unit.front.harness import free_port

pytestmark = pytest.mark.timeout(600)

alone = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="only root may make a network namespace"
)


class Home:
    """A user's home folder with a clone of this repository.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.published = Clone(folder / "published")
        self.clone = folder / "stager"
        subprocess.run(["git", "clone", "--quiet", self.published.folder, self.clone], check=True)
        (folder / ".local" / "bin").mkdir(parents=True)

    def run(self, script: str) -> str:
        """Run commands in the clone; returns their output. The front isn't compiled.

        Python is that of the tests. Bash stays the parent, as in a terminal: without `exit`, it would replace
        itself with the last command.
        """
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("STAGER_", "PIPX_", "PYTHON"))}
        path = f"{self.folder}/.local/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
        variables = {
            "HOME": str(self.folder), "PATH": path, "STAGER_COMPILED": "off", "SHELL": "/bin/bash",
            "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", f"{Path.home()}/.cache/pip"), "USE_EMOJI": "no",
            "PIP_COMPILE": "0",
        }  # fmt: skip
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", f"{script}\nexit"], cwd=self.clone, env=kept | variables,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False, timeout=280,
        )  # fmt: skip
        print(f"$ {script}\n{done.stdout}")
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def serving(self, script: str) -> str:
        """The same where port 8000 is free and this machine has no root helper; then Stager is stopped."""
        without_helper = "mkdir -p /run/stager\nmount -t tmpfs tmpfs /run/stager"
        stopping = "trap 'stager stop || .venv/bin/stager stop' EXIT"
        inside = f"ip link set lo up\n{without_helper}\n{stopping}\n{script}"
        return self.run(f"exec unshare --net --mount bash -eo pipefail <<'END'\n{inside}\nEND")


@pytest.fixture
def home() -> Iterator[Home]:
    """In a folder with a short path, because the path of a socket in it has 107 bytes at most (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="stager-") as folder:
        yield Home(Path(folder))


@alone
def test_in_a_clone_by_the_quick_setup_and_upgraded(home: Home) -> None:
    lines = page_sample("README.md", "python3 -m venv .venv").splitlines()
    assert [line.split()[1] for line in lines[-2:]] == ["serve", "http://localhost:8000/"]
    home.run("\n".join(lines[:-2]))
    said = home.serving("\n".join(lines[-2:]))
    assert "/login/link?secret=" in said
    assert "Stager is running" in said

    home.published.write("src/stager/version.py", '__version__ = "9.0.0"\n')
    home.published.commit("Newer")
    home.run("echo 'listen: 127.0.0.1:8000' > config.yml")
    assert "config.yml: valid" in home.run(page_sample("upgrade-and-recover.md", "git pull\n.venv/bin/pip"))
    assert ".venv/bin/stager 9.0.0" in home.run("echo .venv/bin/$(.venv/bin/stager --version)")


def test_the_command_line(home: Home) -> None:
    home.run(page_sample("use-the-command-line.md", "python3 -m venv ~/.local/share/stager"))
    assert "configure" in home.run("stager --help")
    completion = (home.folder / ".bashrc").read_text() + (
        home.folder / ".bash_completions/stager.sh"
    ).read_text()
    assert "_STAGER_COMPLETE" in completion


@alone
def test_the_server_by_pipx(home: Home) -> None:
    home.run(page_sample("install-with-pipx.md", "python3 -m pip wheel --no-deps --wheel-dir dist ."))
    install, serve = page_sample(
        "install-with-pipx.md", 'pipx install "$(ls dist/stager-*.whl)[server]"'
    ).splitlines()
    home.run(install)
    (home.clone / "config.yml").write_text(f"listen: 127.0.0.1:{free_port()}\n")
    said = home.serving(f"command -v stager\n{serve}\nstager status || true")
    assert said.startswith(f"{home.folder}/.local/bin/stager\n")
    assert "front:         running" in said
    home.run("pipx uninstall stager")

    home.run(page_sample("install-with-pipx.md", "pipx install dist/stager-*.whl\nstager configure"))
    assert home.run("stager --version").split()[0] == "stager"
    assert "fastapi" not in home.run("pipx runpip stager list")
    home.run("pipx uninstall stager")
    assert not (home.folder / ".local" / "bin" / "stager").is_symlink()
