"""The demo: two pull requests of a real git repository come alive, one is pushed to, and one is closed.

`scripts/demo` runs it on a machine that it has made ready. With `--once` every step is checked and everything
that was started is stopped again; without, the previews stay up until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from demo_origin import (
    APP,
    BRANCHES,
    NIGHT,
    ROOT,
    TEST,
    WELCOME,
    Branch,
    DemoError,
    GitDaemon,
    Origin,
    build_image,
)
from demo_server import PASSWORD, USER, Server, is_port_free, wait_until

NEW_HEADING = "Welcome back, and mind the stairs"


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


class Demo:
    """The story, one method a scene."""

    def __init__(self, folder: Path, port: int) -> None:
        self.origin = Origin(folder / "origin")
        self.git_daemon = GitDaemon(self.origin.folder, folder / "git-daemon.pid")
        self.server = Server(folder, port)

    def clean_up(self) -> None:
        """Stop what runs, from this demo or from one that was killed, and remove its previews."""
        try:
            self.server.stop()
        finally:
            self.git_daemon.stop()

    def prepare(self) -> None:
        with step(f"a git repository with the branches {', '.join(b.name for b in BRANCHES)}"):
            self.origin.create()
            self.git_daemon.start()
        with step(f"an image for {APP}, with the repository and a boot script in it"):
            build_image(self.git_daemon.url)
        with step(f"Stager runs at {self.server.home}"):
            self.server.configure()
            self.server.start()
            self.origin.announce_pushes(self.server.webhook, self.server.secret_file)

    def open(self, branch: Branch) -> str:
        """Open the branch's pull request and wait for its preview. Returns its URL."""
        with step(f"pull request {branch.pull_request} ({branch.name}) opened: its preview is live"):
            self.server.deliver("opened", branch, self.origin.head(branch))
            wait_until(
                lambda: self.server.url_of(branch) != "", f"Stager knows of no preview of {branch.name}"
            )
            url = self.server.url_of(branch)
            wait_until(
                lambda: self.heading(branch) == branch.heading, f"{url} doesn't show “{branch.heading}”"
            )
        print(f"    {url}")
        return url

    def push(self, branch: Branch, heading: str, url: str) -> None:
        """Push to the branch and wait for its preview to follow, with a visitor coming by all the time."""
        with step(f"a commit pushed to {branch.name}: the preview is refreshed, at the same URL"):
            with Visitor(self.server, branch) as visitor:
                self.origin.push(branch, heading)
                wait_until(lambda: self.heading(branch) == heading, f"{url} doesn't show “{heading}”")
            if self.server.url_of(branch) != url:
                raise DemoError(f"The URL of {branch.name} changed to {self.server.url_of(branch)}.")
            if visitor.failures:
                raise DemoError(f"{len(visitor.failures)} requests failed meanwhile: {visitor.failures[:3]}")
        print(f"    {visitor.requests} requests meanwhile, none failed")

    def close(self, branch: Branch) -> None:
        with step(
            f"pull request {branch.pull_request} ({branch.name}) closed: preview and container are gone"
        ):
            others = len(self.server.containers()) - 1
            self.server.deliver("closed", branch, self.origin.head(branch))
            wait_until(lambda: self.status(branch) == 410, f"{branch.name} doesn't answer 410 (gone)")
            wait_until(lambda: len(self.server.containers()) <= others, "Its container is still there")

    def refuse_forgery(self) -> None:
        with step("a delivery signed with another secret: refused"):
            answer = self.server.deliver_with("not the secret", "closed", WELCOME, self.origin.head(WELCOME))
            if answer.status != 401 or self.status(WELCOME) != 200:
                raise DemoError(f"The webhook answered {answer.status} to a forged delivery: {answer.text}")

    def launch_and_kill_by_hand(self) -> None:
        with step(f"“{TEST.name}” launched and killed by hand, as curl does it in the walkthrough"):
            launched = self.server.post("/launch", image_name=APP, container_name=TEST.name)
            if launched.status != 200 or launched.text.strip() != f"http://test.localhost:{self.server.port}":
                raise DemoError(f"/launch answered {launched.status}: {launched.text}")
            if self.heading(TEST) != TEST.heading:
                raise DemoError(f"{launched.text} doesn't show “{TEST.heading}”.")
            killed = self.server.post("/kill", image_name=APP, container_name=TEST.name)
            if killed.status != 200:
                raise DemoError(f"/kill answered {killed.status}: {killed.text}")
            wait_until(lambda: self.status(TEST) == 410, f"{launched.text} doesn't answer 410 (gone)")

    def heading(self, branch: Branch) -> str:
        """What the branch's preview shows; empty unless it answers 200."""
        answer = self.server.ask("/", host=f"{branch.name}.localhost")
        found = re.search("<h1>(.*)</h1>", answer.text)
        return found[1] if answer.status == 200 and found else ""

    def status(self, branch: Branch) -> int:
        return self.server.ask("/", host=f"{branch.name}.localhost").status


class Visitor:
    """Somebody who looks at a preview again and again, for as long as the block lasts."""

    def __init__(self, server: Server, branch: Branch) -> None:
        self.requests = 0
        self.failures: list[str] = []
        self._server = server
        self._host = f"{branch.name}.localhost"
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
            answer = self._server.ask("/", host=self._host)
            self.requests += 1
            if answer.status != 200:
                self.failures.append(f"{answer.status} {answer.text[:80]}")
            self._leave.wait(0.01)


def tell_what_next(demo: Demo, urls: dict[Branch, str]) -> None:
    server, checkout = demo.server, demo.origin.checkout.relative_to(ROOT)
    curl = f"curl --user {USER}:{PASSWORD} -d 'image_name={APP}&container_name={TEST.name}'"
    deliver = f"python3 scripts/deliver.py closed --repository demo/{APP} --url {server.webhook}"
    print(
        f"""
Open in a browser:
  {urls[WELCOME]}
  {urls[NIGHT]}
  {server.home}

Then try, in another terminal:
  launch a branch by hand, and kill it:
    {curl} {server.home}launch
    {curl} {server.home}kill
  change a page, and watch its preview follow:
    cd {checkout} && git checkout {NIGHT.name}
    sed -i 's|<h1>.*</h1>|<h1>My own heading</h1>|' site/index.html && git commit -am "My own" && git push
  close pull request {NIGHT.pull_request}, and its preview is gone:
    {deliver} \\
      --number {NIGHT.pull_request} --branch {NIGHT.name} --sha {demo.origin.head(NIGHT)} \\
      --secret-file {server.secret_file.relative_to(ROOT)}

Ctrl-C stops it all and removes the previews; the Docker engine goes on.""",
        flush=True,
    )


def play(demo: Demo, *, once: bool) -> None:
    """The whole story; without `once` it ends when somebody presses Ctrl-C."""
    demo.prepare()
    urls = {branch: demo.open(branch) for branch in (WELCOME, NIGHT)}
    demo.push(WELCOME, NEW_HEADING, urls[WELCOME])
    if once:
        demo.refuse_forgery()
        demo.launch_and_kill_by_hand()
        demo.close(NIGHT)
        demo.close(WELCOME)
        return
    tell_what_next(demo, urls)
    while demo.server.ask("/healthz").status == 200:
        time.sleep(2)
    raise DemoError("Stager doesn't answer any more.")


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder, so that a second demo doesn't take the first one's things for left-overs."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"Another demo runs in {folder}.", "Stop it with Ctrl-C in its terminal, then run this again."
            ) from None
        yield


def perform(demo: Demo, *, once: bool) -> None:
    """Play on a clean stage, and clear it afterwards whatever happens."""
    demo.clean_up()
    if not is_port_free(demo.server.port):
        raise DemoError(f"Port {demo.server.port} is in use.", "Choose another: scripts/demo --port 8001")
    try:
        play(demo, once=once)
    except DemoError:
        print(demo.server.last_words(), file=sys.stderr)
        raise
    finally:
        with step("everything that the demo started is stopped, and its previews are removed"):
            demo.clean_up()


def tell(error: DemoError) -> None:
    """Say what went wrong, the first trouble first when clearing the stage was another."""
    if isinstance(error.__context__, DemoError):
        tell(error.__context__)
    print(f"\n✗ {error}\n  {error.hint}".rstrip(), file=sys.stderr, flush=True)


def main() -> int:
    """0 when all went well or was ended by Ctrl-C, otherwise 1."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="Two pull requests come alive on this machine."
    )
    parser.add_argument(
        "--once", action="store_true", help="check every step, stop everything, and say how it went"
    )
    parser.add_argument("--port", type=int, default=8000, help="where Stager listens (default: %(default)s)")
    given = parser.parse_args()
    folder = ROOT / ".stager" / "demo"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with alone_in(folder):
            perform(Demo(folder, given.port), once=given.once)
    except KeyboardInterrupt:
        return 130 if given.once else 0
    except DemoError as error:
        tell(error)
        return 1
    except PermissionError as error:
        print(
            f"\n✗ {error}\n  Another user made it, perhaps with sudo: remove {folder.parent}.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
