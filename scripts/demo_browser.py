"""The distribution's Chromium, for the scripts that take pictures of the demo."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

# Root may not use Chromium's sandbox, and only this machine is requested.
OPTIONS = ["--no-sandbox", "--no-proxy-server", "--disable-dev-shm-usage"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser without a window for as long as the block lasts."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()
