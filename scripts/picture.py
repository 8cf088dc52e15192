"""Records the demo as a moving picture: each command with its output in a terminal, then its page."""

from __future__ import annotations

import argparse
import base64
import contextlib
import html
import io
import re
import string
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demo import BRANCHES, BROKEN, NEW_HEADING, Demo
from demo_browser import chromium
from demo_stage import ROOT, DemoError
from PIL import Image
from playwright.sync_api import Browser, ViewportSize

TARGET = ROOT / "docs" / "images" / "demo.gif"
LAYOUT = string.Template(ROOT.joinpath("scripts", "picture.html").read_text())
SIZE: ViewportSize = {"width": 960, "height": 660}
TYPING, RUNNING, READING = 350, 900, 2600
"""Milliseconds that a frame is shown."""
COLOURS = 128


@dataclass(frozen=True)
class Frame:
    """One frame.

    Args:
        page: a PNG of the browser's page; empty for none.
        milliseconds: how long it is shown.
    """

    terminal: str
    address: str
    page: bytes
    milliseconds: int


class Recorder:
    """Collects frames while the demo runs."""

    def __init__(self, browser: Browser, port: int) -> None:
        self.frames: list[Frame] = []
        self._browser = browser
        self._port = port
        self._terminal = ""
        self._address, self._page = "", b""

    @contextlib.contextmanager
    def command(self, text: str) -> Iterator[None]:
        """Show a command as it is typed, and its output once the block has ended."""
        self._terminal = ""
        for end in (len("git"), len("git push"), len(text)):
            self._terminal = f"$ {text[:end]}"
            self._add(TYPING)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            yield
        lines = [line.strip() for line in output.getvalue().splitlines() if line.startswith("    remote:")]
        self._terminal = "\n".join([f"$ {text}", *lines])
        self._add(RUNNING)

    def visit(self, host: str, heading: str = "") -> None:
        """Show a page in the browser, once it has this heading."""
        context = self._browser.new_context(viewport={"width": 926, "height": 384})
        page = context.new_page()
        page.goto(f"http://{host}:{self._port}/")
        if heading:
            page.wait_for_function("text => document.body.innerText.includes(text)", arg=heading)
        self._address, self._page = f"{host}:{self._port}", page.screenshot()
        context.close()
        self._add(READING)

    def save(self, target: Path) -> None:
        """Write the frames as a GIF."""
        context = self._browser.new_context(viewport=SIZE)
        page = context.new_page()
        images = []
        for frame in self.frames:
            page.set_content(_drawn(frame))
            shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            images.append(shot.quantize(COLOURS))
        context.close()
        images[0].save(
            target,
            save_all=True,
            append_images=images[1:],
            duration=[frame.milliseconds for frame in self.frames],
            loop=0,
            optimize=True,
        )

    def _add(self, milliseconds: int) -> None:
        self.frames.append(Frame(self._terminal, self._address, self._page, milliseconds))


def _drawn(frame: Frame) -> str:
    terminal = re.sub(r"(http://\S+)", r"<b>\1</b>", html.escape(frame.terminal, quote=False))
    image = base64.b64encode(frame.page).decode()
    page = f'<img src="data:image/png;base64,{image}">' if frame.page else ""
    return LAYOUT.substitute(terminal=terminal, address=frame.address or "&nbsp;", page=page)


def record(demo: Demo, recorder: Recorder) -> None:
    """Run the demo's steps, each with a command and the page that shows its effect."""
    demo.prepare()
    with recorder.command(f"git push stager {' '.join(BRANCHES)}"):
        demo.open()
    recorder.visit("winter.localhost")
    with recorder.command("git push stager winter"):
        demo.refresh("winter")
    recorder.visit("winter.localhost", NEW_HEADING.partition("<br>")[0])
    recorder.visit(f"{BROKEN}.localhost")
    with recorder.command("git push stager --delete night"):
        demo.delete("night")
    recorder.visit("night.localhost")


def main() -> int:
    """Return 0, or 1 if the demo fails."""
    parser = argparse.ArgumentParser(
        prog="scripts/picture", description="Record the demo as a moving picture."
    )
    parser.add_argument("--port", type=int, default=8000, help="where Stager listens (default: %(default)s)")
    port = parser.parse_args().port
    demo = Demo(ROOT / ".stager" / "picture", port)
    started = time.monotonic()
    try:
        with chromium() as browser:
            recorder = Recorder(browser, port)
            demo.clean_up()
            record(demo, recorder)
            recorder.save(TARGET)
    except DemoError as error:
        print(f"✗ {error}\n  {error.hint}", file=sys.stderr)
        return 1
    finally:
        demo.clean_up()
    size, seconds = TARGET.stat().st_size // 1000, time.monotonic() - started
    print(f"· {TARGET.relative_to(ROOT)}: {len(recorder.frames)} frames, {size} kB, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
