"""The parts of the demo: a Stager of its own, a checkout of an example, and a client that sends requests.

`demo.py` uses them.
"""

from __future__ import annotations

import html
import http.client
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "static-site"
APP = "low-tide"

CONFIGURATION = f"""\
# Written by scripts/demo at each run.
listen: 127.0.0.1:{{port}}
domain: localhost:{{port}}
state_dir: state
access_log: false
local_forge: git
images:
  {APP}:
    build: true
"""


class DemoError(Exception):
    """The demo failed.

    Args:
        what: what happened, one sentence.
        hint: what to do, one sentence.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


def run(*command: str | Path, cwd: Path | None = None, with_messages: bool = False) -> str:
    """Run a command and return its output, without the last newline.

    Args:
        with_messages: include standard error.

    Raises:
        DemoError: it failed, with its last lines; or it took longer than two minutes.
    """
    # The user's own git settings (signing, hooks, templates) must not affect the demo.
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    errors = subprocess.STDOUT if with_messages else subprocess.PIPE
    try:
        ended = subprocess.run(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=errors, text=True, check=False, timeout=120,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DemoError(f"{shlex.join(map(str, command))} took longer than two minutes.") from None
    if ended.returncode:
        said = "\n  ".join((ended.stderr or ended.stdout).strip().splitlines()[-8:])
        raise DemoError(f"{shlex.join(map(str, command))} failed:\n  {said}")
    return ended.stdout.strip()


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 120) -> None:
    """Wait until a condition holds.

    Raises:
        DemoError: it didn't in this time; `what` is the beginning of the message.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DemoError(f"{what} after {seconds:.0f} s.")
        time.sleep(0.1)


class Checkout:
    """A developer's checkout of the example application.

    Args:
        folder: where it is created.
        remote: the repository that Stager created, or its URL.
    """

    def __init__(self, folder: Path, remote: Path | str) -> None:
        self.folder = folder
        self._remote = remote

    def create(self) -> None:
        """Create it from the example, with one commit on `main`."""
        shutil.copytree(EXAMPLE, self.folder)
        self._git("init", "--quiet", "--initial-branch", "main")
        # Also for the user's own commits here.
        self._git("config", "user.name", "Demo")
        self._git("config", "user.email", "demo@localhost")
        self._git("config", "commit.gpgsign", "false")
        self._git("remote", "add", "stager", str(self._remote))
        self._commit("The swimming club's site")

    def branch_off(self, branch: str) -> None:
        self._git("checkout", "--quiet", "-b", branch, "main")

    def switch_to(self, branch: str) -> None:
        self._git("checkout", "--quiet", branch)

    def change_heading(self, heading: str) -> None:
        """Commit another heading of the page to the branch that is checked out."""
        page = self.folder / "site" / "index.html"
        page.write_text(re.sub("<h1>.*</h1>", f"<h1>{heading}</h1>", page.read_text()))
        self._commit(heading.replace("<br>", " "))

    def forget_file(self, name: str) -> None:
        """Commit a Dockerfile that copies a missing file."""
        with (self.folder / "Dockerfile").open("a") as dockerfile:
            dockerfile.write(f"COPY {name} /site/\n")
        self._commit(f"Show {name}")

    def write(self, path: str, text: str) -> None:
        """Commit a file with this text."""
        (self.folder / path).write_text(text)
        self._commit(f"Write {path}")

    def push(self, *arguments: str) -> list[str]:
        """Push, print the command and git's output, and return the URLs in it."""
        said = run("git", "push", "stager", *arguments, cwd=self.folder, with_messages=True)
        print(f"$ git push stager {shlex.join(arguments)}")
        print(*(f"    {line.rstrip()}" for line in said.splitlines()), sep="\n", flush=True)
        return re.findall(r"http://\S+", said)

    def _commit(self, message: str) -> None:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)

    def _git(self, *arguments: str) -> str:
        return run("git", *arguments, cwd=self.folder)


class Server:
    """One installation of Stager, in a temporary folder of its own.

    Args:
        port: where it listens, on 127.0.0.1 only.
        settings: more lines of its configuration.
    """

    def __init__(self, folder: Path, port: int, settings: str = "") -> None:
        self.port = port
        self._settings = settings
        self.config = folder / "config.yml"
        self.state = folder / "state"
        self.repository = folder / "git" / f"{APP}.git"

    def is_port_free(self) -> bool:
        """Whether nothing answers on its port of 127.0.0.1."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return True
        return False

    def start(self) -> None:
        self.config.write_text(CONFIGURATION.format(port=self.port) + self._settings)
        self._command("serve", "--detach")
        wait_until(lambda: self.ask("localhost", "/readyz")[0] == 200, "Stager isn't ready (/readyz)")

    def stop(self) -> None:
        """Stop it, if it runs, and remove every container, network, volume and image of this installation."""
        try:
            if self.config.exists():
                self._command("stop")
        finally:
            for kind in ("container", "network", "volume", "image"):
                wait_until(partial(self._removed, kind), f"There are still {kind}s of the demo")

    def ask(self, host: str, path: str = "/") -> tuple[int, str]:
        """The status and the text of the answer; status 0 without an answer.

        Python doesn't resolve `*.localhost`, so it connects to the address and sends the host as a header.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": f"{host}:{self.port}", "Accept": "text/html"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def resources(self, kind: str, *filters: str) -> list[str]:
        """The ids of this installation's containers, networks, volumes or images."""
        identity = self.state / "instance_id"
        if not identity.exists():
            return []  # It was never started.
        everything = ("--all",) if kind == "container" else ()
        labels = (
            f"--filter=label={label}"
            for label in (f"stager.installation={identity.read_text().strip()}", *filters)
        )
        return run("docker", kind, "ls", *everything, "--quiet", *labels).split()

    def log_tails(self) -> str:
        """The last lines of its logs."""
        written = (path for path in self.state.glob("*.log") if path.name != "table.log")
        logs = {log.name: log.read_text("utf-8", "replace") for log in sorted(written)}
        ends = {name: text.splitlines()[-15:] for name, text in logs.items() if text}
        return "\n".join(f"--- the end of {name}\n" + "\n".join(end) for name, end in ends.items())

    def _removed(self, kind: str) -> bool:
        """Remove the resources of this kind, and return whether there were none."""
        remove = {"container": ("--force", "--volumes"), "image": ("--force",)}.get(kind, ())
        if ids := self.resources(kind):
            subprocess.run(["docker", kind, "rm", *remove, *set(ids)], capture_output=True, check=False)
        return not ids

    def _command(self, *words: str) -> None:
        stager = Path(sys.executable).with_name("stager")
        run(stager, words[0], "--config", self.config, *words[1:])


def words_of(page: str) -> str:
    """The text of one of Stager's own pages, without markup."""
    found = re.search("<main[^>]*>(.*?)</main>", page, re.DOTALL)
    return html.unescape(" ".join(re.sub("<[^>]*>", " ", found[1]).split())) if found else page[:200]


class Visitor:
    """Sends requests to a preview continuously, for as long as the block lasts."""

    def __init__(self, server: Server, host: str) -> None:
        self.requests = 0
        self.failures: list[str] = []
        self._server = server
        self._host = host
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._leave.is_set():
            status, text = self._server.ask(self._host)
            self.requests += 1
            if status != 200:
                self.failures.append(f"{status} {text[:80]}")
            self._leave.wait(0.01)
