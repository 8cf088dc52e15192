"""A shell in which the commands of the how-to pages work as written.

The names of the pages lead to this machine, their folders are empty ones, and their repositories are here.
All of this is in a mount namespace and a home folder of the shell's own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.integration.stager import docker, until
from tests.unit.cli.client.terminal import Terminal

PAGES_DOMAIN, OTHER_DOMAIN = "demo.example.org", "previews.example.com"
PREVIEWS = ("warm-welcome", "master", "my-branch", "test", "main", "whatever")
"""Their previews that are visited."""
EMPTY = ("/srv",)
"""Folders of the pages that are empty here."""
TIMEOUT = 120.0
SERVER = "stager"
"""The folder in which Stager is started, a clone as in the README's Quick Setup."""

needs_mounts = "only root may make a mount namespace" if os.geteuid() else ""


class Console:
    """One.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.server = folder, folder / "home", folder / SERVER
        self.address = f"127.{secrets.randbelow(100) + 100}.{secrets.randbelow(250) + 1}.1"
        self.installation = f"test-{secrets.token_hex(4)}"
        for made in (self.home, self.server, folder / "git"):
            made.mkdir()
        (self.server / ".venv").symlink_to(sys.prefix)
        (self.server / ".stager").mkdir(mode=0o700)
        (self.server / ".stager" / "instance_id").write_text(self.installation)
        self._write_home()
        previews = [f"{name}.{PAGES_DOMAIN}" for name in PREVIEWS]
        known = (PAGES_DOMAIN, OTHER_DOMAIN, *previews)
        hosts = "".join(f"{self.address} {name}\n" for name in known)
        (folder / "hosts").write_text(f"{Path('/etc/hosts').read_text()}\n{hosts}")
        self.environ = self._environ()
        self._namespace = self._enter()

    def _write_home(self) -> None:
        here = self.folder / "git"
        (self.home / ".gitconfig").write_text(
            "[user]\nname = Ann\nemail = ann@example.org\n[init]\ndefaultBranch = main\n"
            f'[url "{here}/"]\ninsteadOf = https://github.com/\n[safe]\ndirectory = *\n'
        )
        browser = self.home / "browser"
        browser.write_text(f'#!/bin/sh\necho "$1" >> {self.home}/visited\n')
        browser.chmod(0o755)

    def _environ(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("STAGER_", "XDG_", "GIT_", "PYTHON", "VIRTUAL_ENV"))
            and not name.lower().endswith("_proxy")
        }
        path = f"{self.home}/.local/bin:{sys.prefix}/bin:{os.environ['PATH']}"
        helper = {"STAGER_HELPER": "off"}
        return kept | helper | {"HOME": str(self.home), "PATH": path, "BROWSER": str(self.home / "browser")}

    def _enter(self) -> subprocess.Popen[str]:
        mounts = [f"mount --bind {self.folder}/hosts /etc/hosts"]
        mounts += [f"mount -t tmpfs none {place}" for place in EMPTY]
        script = " && ".join([*mounts, "echo ready", "exec sleep 3000"])
        words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"]
        process = subprocess.Popen([*words, "sh", "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def command(self, script: str, folder: Path) -> list[str]:
        """The words that run a script in there."""
        namespace = f"--mount=/proc/{self._namespace.pid}/ns/mnt"
        return ["nsenter", namespace, f"--wd={folder}", "bash", "-eo", "pipefail", "-c", script]

    def run(self, script: str, *, at: Path | None = None, code: int = 0, **variables: str) -> str:
        """What commands print, messages included. Raises AssertionError when they end with another code."""
        done = subprocess.run(
            self.command(script, at or self.server), env=self.environ | variables, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=TIMEOUT,
        )  # fmt: skip
        print(f"$ {script}\n{done.stdout}")
        assert done.returncode == code, f"{script}\n{done.stdout}"
        return done.stdout

    def sit(self, script: str, *, at: Path | None = None) -> Terminal:
        """Commands on a terminal."""
        return Terminal(self.command(script, at or self.server), self.environ)

    def repository(self, name: str, files: Mapping[str, str], branch: str = "main") -> Path:
        """A bare repository with one commit, which `https://github.com/NAME.git` leads to."""
        bare, clone = self.folder / "git" / f"{name}.git", self.folder / "clones" / name
        clone.mkdir(parents=True)
        for path, text in files.items():
            (clone / path).parent.mkdir(parents=True, exist_ok=True)
            (clone / path).write_text(text)
        commit = "git init -q -b {0} && git add . && git commit -qm First && git clone -q --bare . {1}"
        bare.parent.mkdir(parents=True, exist_ok=True)
        self.run(commit.format(branch, bare), at=clone)
        return clone

    def get(self, host: str, path: str = "/") -> str:
        """What a visitor gets."""
        return self.run(f"curl -s --max-time 20 http://{host}{path}")

    def wait_for(self, host: str, text: str) -> None:
        """Wait until a visitor gets this."""
        until(lambda: text in self.get(host), f"{host} has {text!r}", 120)

    @property
    def containers(self) -> list[str]:
        return docker("ps", "-aq", f"--filter=label=stager.installation={self.installation}").split()

    def clean_up(self) -> None:
        """Leave nothing: processes, containers, networks, images."""
        with contextlib.suppress(AssertionError):
            self.run(f"{sys.prefix}/bin/stager stop")
        if log := (self.server / ".stager" / "stager.log"):
            print(log.read_text()[-6000:] if log.exists() else "no log")
        mine = f"--filter=label=stager.installation={self.installation}"
        for listed, removed in (
            (("ps", "-aq"), ("rm", "-fv")),
            (("network", "ls", "-q"), ("network", "rm")),
            (("image", "ls", "-q"), ("image", "rm", "-f")),
        ):
            if found := sorted(set(docker(*listed, mine).split())):
                docker(*removed, *found)
        self._namespace.kill()
        self._namespace.communicate()


@contextlib.contextmanager
def console(folder: Path) -> Iterator[Console]:
    """One, for as long as the block lasts."""
    made = Console(folder)
    try:
        yield made
    finally:
        made.clean_up()
