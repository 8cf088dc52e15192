"""Takes a picture of every page in each of its states, for review: light and dark, wide and on a phone.

The pages are those of `tests/browser/page_table.py`, over fakes, so it takes neither Docker nor minutes.
usage: .venv/bin/python scripts/stage_pictures.py FOLDER [NAME...]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo_browser import chromium
from page_pictures import COLOURS
from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser.page_stage import PageStage, page_stage
from tests.browser.page_table import TABLE, PageRow
from tests.browser.test_every_page import DESKTOP, PHONE, show, sign_in

SIZES = {"wide": DESKTOP, "phone": PHONE}


def take_dashboard(browser: Browser, target: Path) -> None:
    """Save the picture of the dashboard for the documentation."""
    with page_stage() as stage:
        context = browser.new_context(viewport={"width": 1100, "height": 700}, device_scale_factor=2)
        sign_in(context, stage, "ann")
        page = context.new_page()
        page.goto(stage.home)
        page.locator("main > .notice").evaluate("notice => notice.remove()")  # about the stage's settings
        page.locator("body > footer").evaluate("footer => footer.remove()")
        page.wait_for_timeout(12_000)  # until the first figures of memory
        page.screenshot(path=target, full_page=True)
        context.close()
    Image.open(target).quantize(COLOURS).save(target, optimize=True)


def take_all(browser: Browser, folder: Path, names: list[str]) -> None:
    """Save the pictures of the rows with these names, of all if there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row in TABLE if not names or row.name in names]
    with page_stage() as stage:
        for size in SIZES:
            for scheme in ("light", "dark"):
                _take(browser, stage, rows, folder, size, scheme)


def _take(
    browser: Browser, stage: PageStage, rows: list[PageRow], folder: Path, size: str, scheme: str
) -> None:
    tabs: dict[str, Page] = {}
    for row in rows:
        if row.user not in tabs:
            dark = scheme == "dark"
            context = browser.new_context(viewport=SIZES[size], color_scheme="dark" if dark else "light")
            if row.user:
                sign_in(context, stage, row.user)
            tabs[row.user] = context.new_page()
        show(tabs[row.user], row, stage)
        tabs[row.user].wait_for_timeout(200)
        tabs[row.user].screenshot(path=folder / f"{row.name}-{scheme}-{size}.png", full_page=True)
    for tab in tabs.values():
        tab.context.close()


if __name__ == "__main__":
    with chromium() as opened:
        take_all(opened, Path(sys.argv[1]), sys.argv[2:])
