"""The demo: branches of a local repository come alive by a push, one is refreshed, and one is taken away.

`scripts/demo` runs it on a machine that it has made ready. It uses Stager as anybody would: by its command,
by `git push`, and over HTTP. With `--once` it ends after the story; without, the previews stay up until
Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from demo_stage import APP, EXAMPLE, ROOT, Checkout, DemoError, Server, Visitor, wait_until, words_of

HEADINGS = {"winter": "Ice Swimming<br>Club", "night": "Night Swimming<br>Club"}
"""The first heading of each branch that works."""
NEW_HEADING = "Ice Swimming<br>and Tea"
BROKEN, MISSING = "prices", "prices.html"
"""A branch whose Dockerfile copies a file that nobody committed."""
BRANCHES = (*HEADINGS, BROKEN)


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
    """The story, one method a scene.

    Args:
        folder: for all that the demo makes.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.server = Server(folder, port)
        self.checkout = Checkout(folder / APP, self.server.repository)

    def clean_up(self) -> None:
        """Remove everything of this demo, or of one that was killed."""
        self.server.stop()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)

    def prepare(self) -> None:
        with step(f"Stager runs at http://localhost:{self.server.port}, with a repository of its own"):
            self.folder.mkdir(parents=True)
            self.server.start()
        with step(f"a checkout of {EXAMPLE.relative_to(ROOT)}, with the branches {', '.join(BRANCHES)}"):
            self.checkout.create()
            for branch, heading in HEADINGS.items():
                self.checkout.branch_off(branch)
                self.checkout.change_heading(heading)
            self.checkout.branch_off(BROKEN)
            self.checkout.forget_file(MISSING)
        self.checkout.push("main")

    def open(self) -> None:
        """Push the branches, and wait until each preview shows what it has to."""
        found = self.checkout.push(*BRANCHES)
        if missing := {f"http://{branch}.localhost:{self.server.port}" for branch in BRANCHES} - set(found):
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
        self.checkout.switch_to(branch)
        self.checkout.change_heading(NEW_HEADING)
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
            status, text = self.server.ask(f"{branch}.localhost")
            if status == 502:
                raise DemoError(f"{branch} isn't live. Its page says: {words_of(text)}")
            return status == 200 and f"<h1>{heading}</h1>" in text

        wait_until(shows, f"The preview of {branch} doesn't show “{heading}”")

    def _is_failed(self, branch: str, why: str) -> bool:
        status, text = self.server.ask(f"{branch}.localhost")
        return status == 502 and why in words_of(text)


def tell_what_next(demo: Demo) -> None:
    port = demo.server.port
    print(
        f"""
Open in a browser:
  http://winter.localhost:{port}   a preview
  http://{BROKEN}.localhost:{port}   a branch that can't be built
  http://localhost:{port}          Stager itself

Now by hand, in another terminal:
  cd {shlex.quote(str(demo.checkout.folder))} && git checkout -b my-branch main
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
    if not demo.server.is_port_free():
        raise DemoError(f"Port {demo.server.port} is in use.", "Choose another: scripts/demo --port 8001")
    try:
        play(demo, once=once)
    except DemoError:
        print(demo.server.last_words(), file=sys.stderr)
        raise
    finally:
        with step("everything that the demo made is removed"):
            demo.clean_up()


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
