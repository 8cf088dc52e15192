"""The demo: branches of a local repository come alive by a push, one is refreshed, and one is taken away.

`scripts/demo` runs it on a machine that it has made ready. It uses Stager as anybody would: by its command,
by `git push`, and over HTTP. With `--once` it ends after the story; without, the previews stay up until
Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import http.client
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "static-site"
APP = "low-tide"
HEADINGS = {"winter": "Ice Swimming<br>Club", "night": "Night Swimming<br>Club"}
"""The first heading of each branch that works."""
NEW_HEADING = "Ice Swimming<br>and Tea"
BROKEN, MISSING = "prices", "prices.html"
"""A branch whose Dockerfile copies a file that nobody committed."""

CONFIGURATION = f"""\
# Written by scripts/demo, anew each time.
listen: 127.0.0.1:{{port}}
domain: localhost:{{port}}
state_dir: state
local_forge: git
images:
  {APP}:
    build: true
"""


class DemoError(Exception):
    """The demo can't go on.

    Args:
        what: one sentence on what is the matter.
        hint: one sentence on what to do.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Print one line: what was done and how long it took, or that it failed."""
    started = time.monotonic()
    try:
        yield
    except BaseException:
        print(f"✗ {what}", flush=True)
        raise
    print(f"✓ {what} ({time.monotonic() - started:.1f} s)", flush=True)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """What a command says, without the last newline.

    Raises:
        DemoError: it ended with another status than 0, or not within two minutes; with its last lines.
    """
    # The user's own git settings (signing, hooks, templates) have no business here.
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    try:
        ended = subprocess.run(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DemoError(f"{shlex.join(map(str, command))} took longer than two minutes.") from None
    if ended.returncode:
        said = "\n  ".join(ended.stdout.strip().splitlines()[-8:])
        raise DemoError(f"{shlex.join(map(str, command))} failed:\n  {said}")
    return ended.stdout.strip()


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 120) -> None:
    """Wait until something is the case.

    Raises:
        DemoError: it wasn't in this time; `what` says how things then are.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DemoError(f"{what} after {seconds:.0f} s.")
        time.sleep(0.1)


class Checkout:
    """Where a developer works on the example application.

    Args:
        folder: where it is made.
        remote: the repository that Stager made.
    """

    def __init__(self, folder: Path, remote: Path) -> None:
        self.folder = folder
        self._remote = remote

    def create(self) -> None:
        """The example with a commit on `main` and one a branch."""
        shutil.copytree(EXAMPLE, self.folder)
        self._git("init", "--quiet", "--initial-branch", "main")
        # Also for what the user commits here by hand.
        for name, value in {
            "user.name": "Demo",
            "user.email": "demo@localhost",
            "commit.gpgsign": "false",
        }.items():
            self._git("config", name, value)
        self._git("remote", "add", "stager", str(self._remote))
        self._commit("The swimming club's site")
        for branch, heading in HEADINGS.items():
            self.change(branch, heading)
        self._git("checkout", "--quiet", "-b", BROKEN, "main")
        with (self.folder / "Dockerfile").open("a") as dockerfile:
            dockerfile.write(f"COPY {MISSING} /site/\n")
        self._commit("Tell the prices")

    def change(self, branch: str, heading: str) -> None:
        """Commit another heading to a branch, which is made if there is none."""
        if branch in self._git("branch", "--format=%(refname:short)").splitlines():
            self._git("checkout", "--quiet", branch)
        else:
            self._git("checkout", "--quiet", "-b", branch, "main")
        page = self.folder / "site" / "index.html"
        page.write_text(re.sub("<h1>.*</h1>", f"<h1>{heading}</h1>", page.read_text()))
        self._commit(heading.replace("<br>", " "))

    def push(self, *arguments: str) -> list[str]:
        """Push, show the command and what git says, and return the URLs in that."""
        said = self._git("push", "stager", *arguments)
        print(f"$ git push stager {shlex.join(arguments)}")
        print(*(f"    {line.rstrip()}" for line in said.splitlines()), sep="\n", flush=True)
        return re.findall(r"http://\S+", said)

    def _commit(self, message: str) -> None:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)

    def _git(self, *arguments: str) -> str:
        return run("git", *arguments, cwd=self.folder)


class Server:
    """One installation of Stager, in a folder of its own that is thrown away.

    Args:
        port: where it listens, on 127.0.0.1 only.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.config = folder / "config.yml"
        self.state = folder / "state"
        self.repository = folder / "git" / f"{APP}.git"

    def start(self) -> None:
        self.config.write_text(CONFIGURATION.format(port=self.port))
        self._command("serve", "--detach")
        wait_until(lambda: self.ask("localhost", "/readyz")[0] == 200, "Stager isn't ready (/readyz)")

    def stop(self) -> None:
        """Stop it, if it runs, and remove every container, network and image of this installation."""
        try:
            if self.config.exists():
                self._command("stop")
        finally:
            for kind in ("container", "network", "image"):
                wait_until(partial(self._removed, kind), f"There still are {kind}s of the demo")

    def ask(self, host: str, path: str = "/") -> tuple[int, str]:
        """The status and the text that come back; status 0 when nobody answers.

        Python doesn't resolve `*.localhost`, so the address is dialled and the host goes into the header.
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

    def things(self, kind: str, *filters: str) -> list[str]:
        """The ids of this installation's containers, networks or images."""
        identity = self.state / "instance_id"
        if not identity.exists():
            return []  # It never came to start.
        everything = ("--all",) if kind == "container" else ()
        labels = (
            f"--filter=label={label}"
            for label in (f"stager.instance={identity.read_text().strip()}", *filters)
        )
        return run("docker", kind, "ls", *everything, "--quiet", *labels).split()

    def last_words(self) -> str:
        """The ends of its logs and of its builds', for somebody who wonders what went wrong."""
        logs = [path for path in sorted(self.state.rglob("*.log")) if path.is_file() and path.stat().st_size]
        ends = (path.read_text("utf-8", "replace").splitlines()[-15:] for path in logs)
        return "\n".join(
            "\n".join((f"--- the end of {log.name}", *end)) for log, end in zip(logs, ends, strict=True)
        )

    def _removed(self, kind: str) -> bool:
        """Whether nothing of this kind is there any more; what is, is removed, as far as it can be now."""
        remove = {"container": ("--force", "--volumes"), "network": (), "image": ("--force",)}[kind]
        if ids := self.things(kind):
            subprocess.run(["docker", kind, "rm", *remove, *set(ids)], capture_output=True, check=False)
        return not ids

    def _command(self, *words: str) -> None:
        stager = Path(sys.executable).with_name("stager")
        run(stager, words[0], "--config", self.config, *words[1:])


class Visitor:
    """Somebody who looks at a preview again and again, for as long as the block lasts."""

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


class Demo:
    """The story, one method a scene.

    Args:
        folder: for all that the demo makes.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.server = Server(folder, port)
        self.checkout = Checkout(folder / "checkout", self.server.repository)

    def clean_up(self) -> None:
        """Remove everything of this demo, or of one that was killed."""
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def prepare(self) -> None:
        with step(f"Stager runs at http://localhost:{self.server.port}, with a repository of its own"):
            self.server.start()
        with step(
            f"a checkout of {EXAMPLE.relative_to(ROOT)}, with the branches {', '.join((*HEADINGS, BROKEN))}"
        ):
            self.checkout.create()
        self.checkout.push("main")

    def open(self) -> None:
        """Push the branches, and wait until each preview shows what it has to."""
        branches = (*HEADINGS, BROKEN)
        found = self.checkout.push(*branches)
        if missing := {f"http://{b}.localhost:{self.server.port}" for b in branches} - set(found):
            raise DemoError(f"git's output doesn't have {', '.join(missing)}.")
        for branch, heading in HEADINGS.items():
            with step(f"{branch} is built and live"):
                self._wait_for(branch, heading)
        with step(f"{BROKEN} can't be built: its page says why"):
            wait_until(
                partial(self._is_failed, BROKEN, MISSING), f"The page of {BROKEN} doesn't say why it failed"
            )

    def refresh(self, branch: str) -> None:
        """Push to a branch and wait for its preview to follow, with a visitor coming by all the time."""
        self.checkout.change(branch, NEW_HEADING)
        with Visitor(self.server, f"{branch}.localhost") as visitor:
            self.checkout.push(branch)
            with step(f"{branch} is refreshed, at the same URL"):
                self._wait_for(branch, NEW_HEADING)
        print(f"    {visitor.requests} requests meanwhile, {len(visitor.failures)} of them failed")
        if visitor.failures:
            raise DemoError(f"Requests failed during the refresh: {visitor.failures[:3]}")

    def delete(self, branch: str) -> None:
        self.checkout.push("--delete", branch)
        with step(f"{branch} is gone, and so is its container"):
            host = f"{branch}.localhost"
            wait_until(lambda: self.server.ask(host)[0] == 410, f"{branch} doesn't answer 410 (gone)")
            wait_until(
                lambda: not self.server.things("container", f"stager.name={branch}"),
                "Its container is still there",
            )

    def _wait_for(self, branch: str, heading: str) -> None:
        def shows() -> bool:
            if self._is_failed(branch):
                raise DemoError(f"{branch} could not be started.")
            status, text = self.server.ask(f"{branch}.localhost")
            return status == 200 and f"<h1>{heading}</h1>" in text

        wait_until(shows, f"The preview of {branch} doesn't show “{heading}”")

    def _is_failed(self, branch: str, why: str = "") -> bool:
        status, text = self.server.ask(f"{branch}.localhost")
        return status == 502 and "could not be" in text and why in text


def tell_what_next(demo: Demo) -> None:
    port, checkout = demo.server.port, demo.checkout.folder.relative_to(ROOT)
    print(
        f"""
Open in a browser:
  http://winter.localhost:{port}   a preview
  http://{BROKEN}.localhost:{port}   a branch that can't be built
  http://localhost:{port}          Stager itself

Now by hand, in another terminal:
  cd {shlex.quote(str(ROOT / checkout))} && git checkout -b my-branch main
  sed -i 's|<h1>.*</h1>|<h1>My own heading</h1>|' site/index.html && git commit -am "My own"
  git push stager my-branch
Change and push it again, and the preview follows. To have it go: git push stager --delete my-branch

Ctrl-C removes all of this, the checkout included; the Docker engine goes on.""",
        flush=True,
    )


def play(demo: Demo, *, once: bool) -> None:
    """The whole story; without `once` it ends when somebody presses Ctrl-C."""
    demo.prepare()
    demo.open()
    demo.refresh("winter")
    demo.delete("night")
    if once:
        return
    tell_what_next(demo)
    while demo.server.ask("localhost", "/healthz")[0] == 200:
        time.sleep(2)
    raise DemoError("Stager doesn't answer any more.")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep a second demo of this clone away, which would take the first one's things for left-overs."""
    with Path(__file__).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                "Another demo runs in this clone.",
                "Stop it with Ctrl-C in its terminal, then run this again.",
            ) from None
        yield


def perform(demo: Demo, *, once: bool) -> None:
    """Play on a clean stage, and clear it afterwards whatever happens."""
    demo.clean_up()
    if demo.server.ask("localhost")[0]:
        raise DemoError(f"Port {demo.server.port} is in use.", "Choose another: scripts/demo --port 8001")
    try:
        play(demo, once=once)
    except DemoError:
        print(demo.server.last_words(), file=sys.stderr)
        raise
    finally:
        with step("everything that the demo made is removed"):
            demo.clean_up()
            demo.folder.rmdir()


def tell(error: DemoError) -> None:
    """Say what went wrong, the first trouble first when clearing the stage was another."""
    if isinstance(error.__context__, DemoError):
        tell(error.__context__)
    print(f"\n✗ {error}\n  {error.hint}".rstrip(), file=sys.stderr, flush=True)


def main() -> int:
    """0 when all went well or was ended by Ctrl-C, otherwise 1."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Branches come alive on this machine.")
    parser.add_argument(
        "--once", action="store_true", help="check every step, then remove everything and end"
    )
    parser.add_argument("--port", type=int, default=8000, help="where Stager listens (default: %(default)s)")
    given = parser.parse_args()
    folder = ROOT / ".stager" / "demo"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with alone():
            perform(Demo(folder, given.port), once=given.once)
    except KeyboardInterrupt:
        return 130 if given.once else 0
    except DemoError as error:
        tell(error)
        return 1
    except PermissionError as error:
        hint = f"Another user made it, perhaps with sudo: remove {folder.parent}."
        print(f"\n✗ {error}\n  {hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
