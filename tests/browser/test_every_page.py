"""Every page in each state: axe finds nothing, no error in the console, no foreign request, nothing that the
policy blocks, no horizontal scrolling on a phone, every control by keyboard, and content without JavaScript.

One server and one tab for each user serve all rows, because loading is what takes the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

from tests.browser.page_stage import PASSWORD, PageStage, page_stage
from tests.browser.page_table import TABLE, PageRow

PHONE: ViewportSize = {"width": 375, "height": 720}
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],  # axe's report of all that is well takes longer than its look
}
REACHED = """() => {
  const controls = "a[href], button, input:not([type=hidden]), select, textarea, summary";
  const shown = [...document.querySelectorAll(controls)]
    .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.disabled);
  return shown.filter((e) => e.tabIndex < 0).map((e) => e.outerHTML.slice(0, 120));
}"""
WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass
class Visitor:
    """A tab of somebody, and what went wrong in it."""

    page: Page
    found: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def stage() -> Iterator[PageStage]:
    with page_stage() as opened:
        yield opened


def sign_in(context: BrowserContext, stage: PageStage, user: str) -> None:
    """Sign in within a context, without showing a page."""
    form: dict[str, str | float | bool] = {"user": user, "password": PASSWORD, "to": "/account"}
    answer = context.request.post(f"{stage.home}/login", form=form, headers={"Origin": stage.home})
    assert answer.ok, answer.status


class Visitors:
    """The tabs, one for each user."""

    def __init__(self, browser: Browser, stage: PageStage) -> None:
        self._browser, self._stage = browser, stage
        self._opened: dict[tuple[str, bool], Visitor] = {}

    def of(self, user: str, *, scripts: bool = True) -> Visitor:
        """The tab of a user, with what went wrong in it before forgotten."""
        key = (user, scripts)
        if key not in self._opened:
            self._opened[key] = self._open(user, scripts=scripts)
        self._opened[key].found.clear()
        return self._opened[key]

    def _open(self, user: str, *, scripts: bool) -> Visitor:
        context = self._browser.new_context(
            viewport=DESKTOP, java_script_enabled=scripts, reduced_motion="reduce"
        )
        if user:
            sign_in(context, self._stage, user)
        visitor = Visitor(context.new_page())
        page, home, found = visitor.page, self._stage.home, visitor.found
        page.on("pageerror", lambda error: found.append(f"error: {error}"))
        page.on(
            "console", lambda said: found.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((home, "data:")) else found.append(asked.url),
        )
        return visitor

    def close(self) -> None:
        """Close all tabs."""
        for visitor in self._opened.values():
            visitor.page.context.close()


@pytest.fixture(scope="module")
def visitors(browser: Browser, stage: PageStage) -> Iterator[Visitors]:
    opened = Visitors(browser, stage)
    yield opened
    opened.close()


def path_of(row: PageRow, stage: PageStage) -> str:
    return stage.home + row.path.format(**stage.previews, **stage.values)


def show(page: Page, row: PageRow, stage: PageStage) -> None:
    """Open a row's page in its state."""
    answer = page.goto(path_of(row, stage), wait_until="load")
    assert answer is not None
    assert answer.status == row.status
    if row.opens:
        page.locator(row.opens).first.click()


def breaches(page: Page, scheme: str) -> list[str]:
    """What axe finds."""
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    found = Axe().run(page, options=RULES).response["violations"]
    return [
        f"{scheme} {each['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for each in found
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_everybody_can_use_it(visitors: Visitors, stage: PageStage, row: PageRow) -> None:
    visitor = visitors.of(row.user)
    page = visitor.page
    page.set_viewport_size(DESKTOP)
    show(page, row, stage)
    assert page.locator("h1").count() == 1
    assert page.title()
    assert page.evaluate(REACHED) == []
    assert breaches(page, "light") == []
    page.set_viewport_size(PHONE)
    assert page.evaluate(WIDE) <= 0, "scrolls horizontally on a phone"
    assert breaches(page, "dark") == []
    said = [each for each in visitor.found if f"status of {row.status}" not in each]
    assert said == []


@pytest.mark.parametrize("row", [row for row in TABLE if not row.opens], ids=lambda row: row.name)
def test_reads_without_scripts(visitors: Visitors, stage: PageStage, row: PageRow) -> None:
    page = visitors.of(row.user, scripts=False).page
    show(page, row, stage)
    assert page.locator("h1").inner_text().strip()
    assert len(page.locator("main").inner_text()) > 20


def test_the_first_tab_stop_skips_the_header(visitors: Visitors, stage: PageStage) -> None:
    page = visitors.of("ann").page
    page.goto(stage.home)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_a_key_leads_to_the_search(visitors: Visitors, stage: PageStage) -> None:
    page = visitors.of("ann").page
    page.goto(f"{stage.home}/account")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    assert page.locator("header input").input_value() == ""
