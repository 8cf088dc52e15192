"""The launch page in a browser: the URL while typing, a double click, and all of it without JavaScript. And
the pages of administrators by their buttons."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.page_stage import PageStage, page_stage
from tests.browser.test_every_page import sign_in


@pytest.fixture(scope="module")
def stage() -> Iterator[PageStage]:
    with page_stage() as opened:
        yield opened


def opened(browser: Browser, stage: PageStage, path: str, *, scripts: bool = True) -> Page:
    context = browser.new_context(java_script_enabled=scripts)
    sign_in(context, stage, "ann")
    page = context.new_page()
    page.goto(stage.home + path)
    return page


def generation(page: Page, stage: PageStage) -> int:
    path = page.url.replace("/previews/", "/api/v1/environments/")
    return int(page.context.request.get(path).json()["generation"])


def test_the_url_is_shown_while_typing_and_a_double_click_launches_once(
    browser: Browser, stage: PageStage
) -> None:
    page = opened(browser, stage, "/new?app=shop")
    page.get_by_label("Branch").press_sequentially("Big Sale")
    expect(page.locator("#target-url")).to_have_text("http://big-sale.preview.test")
    page.get_by_role("button", name="Launch preview").dblclick()
    page.wait_for_url("**/previews/*")

    assert generation(page, stage) == 1
    page.context.close()


def test_without_javascript(browser: Browser, stage: PageStage) -> None:
    page = opened(browser, stage, "/new?app=shop", scripts=False)
    page.get_by_label("Branch").fill("plain")
    page.get_by_role("button", name="Show its address").click()
    expect(page.locator("#target-url")).to_have_text("http://plain.preview.test")
    page.get_by_role("button", name="Launch preview").click()

    assert "/previews/" in page.url
    assert generation(page, stage) == 1
    page.context.close()


def test_an_open_pull_request_is_chosen(browser: Browser, stage: PageStage) -> None:
    page = opened(browser, stage, "/new?app=site")
    page.get_by_role("link", name="Choose #1").click()

    expect(page.get_by_label("Branch")).to_have_value("checkout")
    expect(page.locator("#target")).to_contain_text("This preview exists")
    page.context.close()


def test_an_error_is_beside_the_branch(browser: Browser, stage: PageStage) -> None:
    page = opened(browser, stage, "/new?app=shop")
    page.get_by_label("Branch").fill("default")
    page.get_by_role("button", name="Launch preview").click()

    expect(page.locator("#branch-help")).to_contain_text("is reserved")
    page.context.close()


def test_an_administrator_ends_all_sessions_of_somebody(browser: Browser, stage: PageStage) -> None:
    other = browser.new_context()
    sign_in(other, stage, "dev")
    page = opened(browser, stage, "/people")
    page.get_by_text("End all sessions of dev").click()
    page.get_by_role("button", name="End all sessions").filter(visible=True).click()

    expect(page.get_by_role("heading", name="dev", exact=True)).to_have_count(0)
    assert other.request.get(f"{stage.home}/account", max_redirects=0).status != 200
    page.goto(f"{stage.home}/audit?action=sign-out")
    expect(page.get_by_text("everywhere: dev")).to_be_visible()
    other.close()
    page.context.close()
