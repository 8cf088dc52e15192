"""What people see: previews, and the pages in their place, in a browser that nginx answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.integration.behind import Behind
from tests.integration.nginx import BINARY, NginxUnderTest

pytestmark = pytest.mark.skipif(not Path(BINARY).exists(), reason="no nginx: scripts/test installs one")


@pytest.mark.requirement("R60")
@pytest.mark.parametrize("vhosts", [True, False])
def test_a_preview_from_its_first_moment_to_its_last(
    nginx: NginxUnderTest, behind: Behind, page: Page, vhosts: bool
) -> None:
    """The waiting page leads to the preview without a reload."""
    stager = behind(vhosts=vhosts)
    url = stager.launch("in_a_browser", BOOT="3", wait="0").text
    assert url == f"http://in-a-browser.localhost:{nginx.port}"
    page.goto(url)
    expect(page.get_by_role("status")).to_contain_text("in_a_browser")
    assert page.title() != ""
    expect(page.locator("body")).to_have_text("in_a_browser", timeout=60_000)
    stager.launched("in_a_browser", VERSION="2")
    page.reload()
    expect(page.locator("body")).to_have_text("in_a_browser 2")
    stager.kill("in_a_browser")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_contain_text("in_a_browser")
    expect(page.get_by_role("status")).to_contain_text("removed")


@pytest.mark.requirement("R92")
def test_a_name_that_is_a_script_is_shown_as_text(behind: Behind, page: Page) -> None:
    name = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    stager = behind()
    answer = stager.launch(name, EXIT="3")
    assert answer.status_code == 503
    page.goto(str(stager.environment(name)["url"]))
    expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    expect(page.locator("pre")).to_contain_text("giving up: the database is missing")
    assert page.locator("main img, main script").count() == 0


def test_stagers_pages_fit_a_phone_screen(nginx: NginxUnderTest, behind: Behind, page: Page) -> None:
    behind()
    page.set_viewport_size({"width": 360, "height": 640})
    for url in (nginx.url, f"http://never-heard-of.localhost:{nginx.port}"):
        page.goto(url.replace("127.0.0.1", "localhost"))
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, url
