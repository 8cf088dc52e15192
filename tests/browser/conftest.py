"""A real browser: the distribution's Chromium, without a window."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import steady_chromium
from tests.integration.behind import behind, nginx
from tests.integration.building import make_rig
from tests.integration.conftest import app_image, make_stager

__all__ = ["app_image", "behind", "make_rig", "make_stager", "nginx"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each file: while Playwright is there, a loop runs in this thread, and tests of other files that
    the same process is given want to run theirs."""
    if steady_chromium.PROGRAM is None:
        pytest.skip("no Chromium: scripts/test installs one where the distribution has it")
    # Root may not have its sandbox, and nothing but this machine is to be asked.
    options = ["--no-sandbox", "--no-proxy-server", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=steady_chromium.__file__, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty tab; whatever is shown in it must do without an error in a script."""
    errors: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(f"a dialog: {dialog.message}"))
    yield page
    context.close()
    assert errors == []
