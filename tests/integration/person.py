"""A user of the client commands: the real command, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.integration.stager import PATIENCE, until
from tests.unit.cli.client.terminal import Terminal


class Person:
    """A user with the command, and a browser that records the URLs that it opens.

    Args:
        folder: one of their own.
        url: the server that they use.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self._terminals: list[Terminal] = []
        self.visited = folder / "visited"
        browser = folder / "browser"
        browser.write_text(f'#!/bin/sh\necho "$1" >> {self.visited}\n')
        browser.chmod(0o755)
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("STAGER_", "XDG_"))
        } | {
            "XDG_CONFIG_HOME": str(folder / "config"),
            "BROWSER": str(browser),
            "NO_PROXY": "*",
        }

    def run(self, *words: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """The command without a terminal, as in a script."""
        return subprocess.run(
            self._command(*words), input=stdin, env=self.environ | environ, capture_output=True, text=True,
            check=False, timeout=PATIENCE,
        )  # fmt: skip

    def sit(self, *words: str) -> Terminal:
        """The command on a terminal."""
        terminal = Terminal(self._command(*words), self.environ)
        self._terminals.append(terminal)
        return terminal

    def visits(self, number: int) -> list[str]:
        """Where their browser was sent, as soon as it was so often: a command only starts it."""

        def look() -> list[str] | None:
            lines = self.visited.read_text(encoding="utf-8").splitlines() if self.visited.exists() else []
            return lines if len(lines) >= number else None

        return until(look, f"the browser was sent somewhere {number} times")

    def leave(self) -> None:
        """End what still runs."""
        for terminal in self._terminals:
            terminal.process.kill()
            terminal.process.wait()

    def sign_in(self, user: str, password: str) -> None:
        """As `stager configure` and `stager login` do it."""
        configured = self.run("configure", f"endpoint={self.url}", "auth_strategy=Basic", f"username={user}")
        assert configured.returncode == 0, configured.stderr
        signed_in = self.run("login", "--stdin", stdin=f"{password}\n")
        assert signed_in.returncode == 0, signed_in.stderr

    @staticmethod
    def _command(*words: str) -> list[str]:
        return [sys.executable, "-m", "stager", *words]
