"""A working repository, a bare one that is a forge, and a Stager that receives pushes."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from stager.domain.errors import Refused, Retry
from stager.domain.pull_requests.events import ChangeEvent
from stager.forges.local.forge import LocalForge
from stager.forges.local.push_client import WAIT
from stager.git import environment
from tests.doubles.git import WHO


@dataclass
class Ear:
    """Receives pushes in Stager's place. It accepts what the forge's own check accepts.

    Args:
        answer: its answer to each; `{}` becomes the action.
        heard: the received events, in order.
        refused: why others were refused.
        waits: whether each push waits for its previews.
        pause: set, it answers only when it is.
        media_type: of its answers.
    """

    forge: LocalForge
    url: str = ""
    answer: str = "{} it, http://feature.localhost:8000"
    heard: list[ChangeEvent] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    waits: list[bool] = field(default_factory=list)
    pause: threading.Event | None = None
    media_type: str = "text/plain; charset=utf-8"

    def hear(self, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        self.waits.append(WAIT in headers)
        try:
            told = [self.forge.read(d) for d in asyncio.run(self.forge.receive(headers, body))]
        except Refused as error:
            self.refused.append(error.reason)
            return error.status, error.message
        except Retry as error:
            return 503, error.message
        events = [event for event in told if isinstance(event, ChangeEvent)]
        assert events == told
        self.heard += events
        if self.pause:
            self.pause.wait()
        return 202, "\n".join(self.answer.format(event.action) for event in events)


@contextmanager
def listening(ear: Ear) -> Iterator[Ear]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/webhooks/local"
            status, text = ear.hear({k.lower(): v for k, v in self.headers.items()}, body)
            self.send_response(status)
            self.send_header("Content-Type", ear.media_type)
            with suppress(ConnectionError):  # the client has disconnected
                self.end_headers()
                self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        ear.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield ear
        finally:
            server.shutdown()
            thread.join()


class Clone:
    """A user's own repository, with a first commit on its branch `main`."""

    def __init__(self, folder: Path, remote: Path | str) -> None:
        self.folder = folder
        self._count = itertools.count(1)
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("remote", "add", "stager", str(remote))
        self.commit("README", "Hi")

    def git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run git in it, hooks and all. Raises CalledProcessError when it fails."""
        variables = {**environment({"core.hooksPath": "hooks"}, protocols="file:http"), **WHO}
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, env=variables, check=True, capture_output=True, text=True
        )

    def commit(self, path: str, content: str, message: str = "A change") -> str:
        (self.folder / path).write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")
        return self.git("rev-parse", "HEAD").stdout.strip()

    def branch(self, name: str) -> str:
        """Begin a branch with a commit of its own, another one each time: two that say the same in the same
        second are one."""
        self.git("checkout", "--quiet", "-B", name, "main")
        return self.commit(name.replace("/", "-"), f"{name} {next(self._count)}")

    def push(self, *what: str) -> list[str]:
        """Push, and return the lines that Stager added to git's output."""
        told = self.git("push", "stager", *what).stderr.splitlines()
        remote = [line.removeprefix("remote:").strip() for line in told if line.startswith("remote:")]
        return [line.removeprefix("stager: ") for line in remote if line.startswith("stager:")]
