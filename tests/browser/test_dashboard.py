"""The dashboard in a real browser: live changes, search, actions, and what is left without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.integration.conftest import MakeStager
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, until

expect.set_options(timeout=60_000)

NASTY = "<img src=x onerror=alert(1)>"


@pytest.fixture
def stager(make_stager: MakeStager) -> StagerUnderTest:
    return make_stager()


@pytest.fixture
def dashboard(stager: StagerUnderTest, browser: Browser) -> Iterator[Page]:
    """The dashboard with a signed-in user. No script fails, and the policy of the page blocks nothing."""
    errors: list[str] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: errors.append(f"a dialog: {dialog.message}"))
        page.on(
            "console",
            lambda message: errors.append(message.text) if "Content Security" in message.text else None,
        )
        with page.expect_response("**/dashboard/events"):
            sign_in(page, stager)
        yield page
    assert errors == []


def sign_in(page: Page, stager: StagerUnderTest) -> None:
    page.goto(f"{home_of(stager)}/login")
    page.get_by_label("Name").fill(USER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1, name="Previews")).to_be_visible()


def home_of(stager: StagerUnderTest) -> str:
    return f"http://localhost:{stager.port}"


def item(page: Page, name: str) -> Locator:
    return page.locator("#previews li").filter(has=page.get_by_role("link", name=name, exact=True))


def test_it_follows_previews_from_the_launch_to_the_removal(stager: StagerUnderTest, dashboard: Page) -> None:
    expect(dashboard.get_by_text("There are no previews yet")).to_be_visible()
    stager.launched("first")
    stager.launch(NASTY, EXIT="3", wait="0")
    expect(item(dashboard, "first")).to_contain_text("live")
    expect(item(dashboard, NASTY)).to_contain_text("didn't become healthy")
    expect(dashboard.get_by_text("There are no previews yet")).to_be_hidden()
    expect(item(dashboard, "first").get_by_role("link", name="Open")).to_have_attribute(
        "href", f"http://{stager.host('first')}"
    )

    search = dashboard.get_by_role("searchbox", name="Search previews")
    search.fill("fir LIVE")
    expect(item(dashboard, NASTY)).to_have_count(0)
    expect(item(dashboard, "first")).to_have_count(1)
    expect(dashboard).to_have_url(f"{home_of(stager)}/?q=fir%20LIVE")
    search.fill("nothing")
    expect(dashboard.get_by_text("No preview matches “nothing”")).to_be_visible()
    search.fill("")
    expect(item(dashboard, NASTY)).to_have_count(1)

    first = item(dashboard, "first")
    first.get_by_label("Actions for first").press("Enter")
    first.get_by_role("button", name="Redeploy").click()
    # One that is live again within the time of one change is announced by the button alone.
    expect(dashboard.locator("#news")).to_contain_text(re.compile("Redeploy: requested|first: "))
    until(lambda: stager.environment("first")["generation"] == 2, "it is deployed again")
    stager.wait_for("first", "live")
    expect(item(dashboard, "first")).to_contain_text("live")
    expect(item(dashboard, "first").locator(".menu[open]")).to_have_count(0)
    first.get_by_label("Actions for first").click()
    first.get_by_text("Remove…").click()
    first.get_by_role("button", name="Remove first").click()
    expect(first).to_have_count(0)
    expect(dashboard.locator("#news")).to_contain_text("first: removed")

    dashboard.set_viewport_size({"width": 380, "height": 700})
    assert dashboard.evaluate("document.documentElement.scrollWidth") <= 380


def names(page: Page) -> list[str]:
    return page.locator("#previews .name").all_inner_texts()


def group(page: Page, name: str) -> Locator:
    """A filter of the list."""
    return page.locator("#filters").get_by_role("link", name=name)


def number(page: Page, name: str) -> Locator:
    """The number at a filter."""
    return group(page, name).locator(".number")


def test_filters_and_orders_are_live(stager: StagerUnderTest, dashboard: Page) -> None:
    stager.launched("bravo")
    expect(number(dashboard, "Live")).to_have_text("1")
    group(dashboard, "Failed").press("Enter")
    expect(dashboard.get_by_role("heading", name="No preview here")).to_be_visible()
    expect(dashboard).to_have_url(f"{home_of(stager)}/?show=failed")

    stager.launch("alpha", EXIT="3", wait="0")
    expect(item(dashboard, "alpha")).to_contain_text("failed")
    expect(number(dashboard, "Failed")).to_have_text("1")
    expect(dashboard.get_by_role("heading", name="No preview here")).to_be_hidden()
    stager.launched("alpha")
    expect(item(dashboard, "alpha")).to_have_count(0)
    expect(number(dashboard, "Live")).to_have_text("2")

    group(dashboard, "All").click()
    dashboard.get_by_label("Sort by").select_option("name")
    expect(dashboard).to_have_url(f"{home_of(stager)}/?sort=name")
    assert names(dashboard) == ["alpha", "bravo"]
    stager.launched("aaa")
    expect(item(dashboard, "aaa")).to_contain_text("live")
    assert names(dashboard) == ["aaa", "alpha", "bravo"]
    expect(item(dashboard, "bravo").locator(".usage")).to_contain_text("MB")


def test_the_machine_is_shown_and_renewed(stager: StagerUnderTest, dashboard: Page) -> None:
    machine = dashboard.locator(".machine")
    machine.locator("summary").press("Enter")
    expect(machine).to_contain_text("0 running")
    stager.launched("first")
    expect(machine).to_contain_text("1 running")
    expect(machine).to_contain_text("available")


def test_it_goes_on_after_a_restart_and_ends_with_the_session(
    stager: StagerUnderTest, dashboard: Page
) -> None:
    stager.restart()
    stager.launched("after")
    expect(item(dashboard, "after")).to_contain_text("live")

    other = dashboard.context.new_page()
    other.goto(f"{home_of(stager)}/account")
    other.get_by_role("button", name="Sign out", exact=True).click()
    expect(dashboard.get_by_text("Your session has ended.")).to_be_visible()
    expect(dashboard.get_by_role("link", name="Sign in again")).to_be_visible()


def test_it_works_without_javascript(stager: StagerUnderTest, browser: Browser) -> None:
    stager.launched("first")
    stager.launched("second")
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        sign_in(page, stager)
        expect(item(page, "first")).to_contain_text("live")
        group(page, "Failed").click()
        expect(page.get_by_text("No preview here")).to_be_visible()
        group(page, "Live").click()
        expect(item(page, "first")).to_have_count(1)
        page.get_by_label("Sort by").select_option("memory")
        page.get_by_role("button", name="Sort", exact=True).click()
        assert page.url == f"{home_of(stager)}/?show=live&sort=memory"
        page.goto(f"{home_of(stager)}/")
        page.get_by_role("searchbox").fill("second")
        page.get_by_role("searchbox").press("Enter")
        expect(item(page, "first")).to_have_count(0)
        second = item(page, "second")
        second.get_by_label("Actions for second").click()
        second.get_by_text("Remove…").click()
        second.get_by_role("button", name="Remove second").click()
        expect(page.get_by_text("No preview matches “second”")).to_be_visible()
        assert page.url == f"{home_of(stager)}/?q=second"
