"""The demo: pushes branches to a local repository, refreshes one preview, and removes another.

`scripts/demo` runs it after preparing the machine. It uses Stager's public interfaces: the command line,
`git push` and HTTP. With `--once` it ends after that; without, the previews run until Ctrl-C.
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
    """The demo, one method per step.

    Args:
        folder: for all files of the demo.
        settings: more lines of Stager's configuration.
    """

    def __init__(self, folder: Path, port: int, settings: str = "") -> None:
        self.folder = folder
        self.server = Server(folder, port, settings)
        self.checkout = Checkout(folder / APP, self.server.repository)

    def clean_up(self) -> None:
        """Remove everything of this demo, or of a killed one."""
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
        """Push the branches, and wait until each preview shows the expected page."""
        found = self.checkout.push(*BRANCHES)
        if missing := {f"http://{branch}.localhost:{self.server.port}" for branch in BRANCHES} - set(found):
            raise DemoError(f"git's output doesn't have {', '.join(missing)}.")
        for branch, heading in HEADINGS.items():
            with step(f"{branch} is built and live"):
                self._wait_for(branch, heading)
        with step(f"{BROKEN} can't be built, and its page says why"):
            wait_until(
                partial(self._is_failed, BROKEN, MISSING), f"The page of {BROKEN} doesn't say why it failed"
            )

    def refresh(self, branch: str) -> None:
        """Push to a branch and wait for its preview to follow, with continuous requests to it."""
        self.checkout.switch_to(branch)
        self.checkout.change_heading(NEW_HEADING)
        with Visitor(self.server, f"{branch}.localhost") as visitor:
            self.checkout.push(branch)
            with step(f"{branch} is refreshed, at the same URL"):
                self._wait_for(branch, NEW_HEADING)
        print(f"    {visitor.requests} requests during the refresh, {len(visitor.failures)} of them failed")
        if visitor.failures:
            raise DemoError(f"Requests failed during the refresh: {visitor.failures[:3]}")

    def delete(self, branch: str) -> None:
        self.checkout.push("--delete", branch)
        with step(f"{branch} and its container are removed"):
            host = f"{branch}.localhost"
            wait_until(lambda: self.server.ask(host)[0] == 410, f"{branch} doesn't answer 410 (gone)")
            wait_until(
                lambda: not self.server.resources("container", f"stager.name={branch}"),
                "Its container still exists",
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


def print_next_steps(demo: Demo) -> None:
    port = demo.server.port
    print(
        f"""
Open in a browser:
  http://winter.localhost:{port}   a preview
  http://{BROKEN}.localhost:{port}   a branch that can't be built
  http://localhost:{port}          Stager itself

To try it yourself, in another terminal:
  cd {shlex.quote(str(demo.checkout.folder))} && git checkout -b my-branch main
  sed -i 's|<h1>.*</h1>|<h1>My own heading</h1>|' site/index.html && git commit -am "My own"
  git push stager my-branch
Change and push it again to refresh the preview. To remove it: git push stager --delete my-branch

Ctrl-C removes all of this, including the checkout; the Docker engine keeps running.""",
        flush=True,
    )


def run_steps(demo: Demo, *, once: bool) -> None:
    """Run the demo; without `once` it ends at Ctrl-C."""
    demo.prepare()
    demo.open()
    demo.refresh("winter")
    demo.delete("night")
    if once:
        return
    print_next_steps(demo)
    while demo.server.ask("localhost", "/healthz")[0] == 200:
        time.sleep(2)
    raise DemoError("Stager no longer answers.")


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Prevent a second demo of this clone, which would remove the resources of the first."""
    with Path(__file__).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                "Another demo is running in this clone.",
                "Stop it with Ctrl-C in its terminal, then run this again.",
            ) from None
        yield


def run_demo(demo: Demo, *, once: bool) -> None:
    """Clean up, run the demo, and clean up again in any case."""
    demo.clean_up()
    if not demo.server.is_port_free():
        raise DemoError(f"Port {demo.server.port} is in use.", "Choose another: scripts/demo --port 8001")
    try:
        run_steps(demo, once=once)
    except DemoError:
        print(demo.server.log_tails(), file=sys.stderr)
        raise
    finally:
        with step("everything of the demo is removed"):
            demo.clean_up()


def print_error(error: DemoError) -> None:
    """Print the error, after the one during whose handling it occurred."""
    if isinstance(error.__context__, DemoError):
        print_error(error.__context__)
    print(f"\n✗ {error}\n  {error.hint}".rstrip(), file=sys.stderr, flush=True)


def main() -> int:
    """Return 0 after success or Ctrl-C, otherwise 1."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="Launch previews of pushed branches on this machine."
    )
    parser.add_argument("--once", action="store_true", help="run every step, remove everything and exit")
    parser.add_argument("--port", type=int, default=8000, help="where Stager listens (default: %(default)s)")
    given = parser.parse_args()
    folder = ROOT / ".stager" / "demo"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with exclusive():
            run_demo(Demo(folder, given.port), once=given.once)
    except KeyboardInterrupt:
        return 130 if given.once else 0
    except DemoError as error:
        print_error(error)
        return 1
    except PermissionError as error:
        hint = f"It belongs to another user, perhaps after a run with sudo: remove {folder.parent}."
        print(f"\n✗ {error}\n  {hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
