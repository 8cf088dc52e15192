"""The buttons of a preview's page: who sees which, and what each does, by mouse, by keyboard and without
JavaScript. `test_preview_actions.py` clicks them on a real Stager with Docker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from stager.domain.identity.roles import Role
from tests.browser.page_stage import PageStage, page_stage
from tests.browser.test_every_page import sign_in

USERS = {"vera": Role.VIEWER, "dev": Role.DEVELOPER, "ann": Role.ADMINISTRATOR}
ACTIONS = "#actions"


@dataclass(frozen=True, slots=True)
class ButtonRow:
    """A control of a preview's page.

    Args:
        preview: the key of the preview in `PageStage.previews` that has it.
        text: what is on it.
        needs: the least role that sees it.
        is_question: whether it opens something, in which the button itself is.
    """

    preview: str
    text: str
    needs: Role
    is_question: bool = False

    def find(self, page: Page) -> Locator:
        """The control on a page."""
        if self.is_question:
            return page.locator(f"{ACTIONS} summary", has_text=self.text)
        return page.locator(ACTIONS).get_by_role("button", name=self.text, exact=True)


TABLE = (
    ButtonRow("live", "Redeploy", Role.DEVELOPER),
    ButtonRow("live", "Sleep", Role.DEVELOPER),
    ButtonRow("live", "Pin", Role.DEVELOPER),
    ButtonRow("live", "Remove…", Role.DEVELOPER, is_question=True),
    ButtonRow("live", "Roll back…", Role.DEVELOPER, is_question=True),
    ButtonRow("services", "Share…", Role.DEVELOPER, is_question=True),
    ButtonRow("services", "Reset data…", Role.DEVELOPER, is_question=True),
    ButtonRow("asleep", "Wake", Role.VIEWER),
    ButtonRow("approval", "Approve…", Role.DEVELOPER, is_question=True),
)


@pytest.fixture(scope="module")
def stage() -> Iterator[PageStage]:
    with page_stage() as opened:
        yield opened


@pytest.fixture(scope="module")
def contexts(browser: Browser, stage: PageStage) -> Iterator[dict[str, BrowserContext]]:
    """A signed-in browser of each user."""
    opened = {user: browser.new_context() for user in USERS}
    for user, context in opened.items():
        sign_in(context, stage, user)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=stage.home)
    yield opened
    for context in opened.values():
        context.close()


@pytest.fixture
def dev(contexts: dict[str, BrowserContext]) -> Iterator[Page]:
    page = contexts["dev"].new_page()
    yield page
    page.close()


def show(page: Page, stage: PageStage, preview: str) -> None:
    page.goto(f"{stage.home}/previews/{stage.previews[preview]}")


def view(page: Page, stage: PageStage, preview: str) -> dict[str, Any]:
    """The preview in the API."""
    url = f"{stage.home}/api/v1/environments/{stage.previews[preview]}"
    found: dict[str, Any] = page.context.request.get(url).json()
    return found


def press(page: Page, locator: Locator) -> None:
    """Reach a control by Tab alone, and press it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if locator.evaluate("element => element === document.activeElement"):
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"{locator} isn't reached by Tab")


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.preview}-{row.text}")
def test_is_there_for_those_who_may_only(
    contexts: dict[str, BrowserContext], stage: PageStage, row: ButtonRow, user: str
) -> None:
    page = contexts[user].new_page()
    show(page, stage, row.preview)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(row.find(page)).to_have_count(1 if USERS[user] >= row.needs else 0)
    page.close()


def test_every_button_of_the_page_is_in_the_table(
    contexts: dict[str, BrowserContext], stage: PageStage
) -> None:
    page = contexts["ann"].new_page()
    for preview in ("live", "services", "asleep", "approval", "failed", "crashed", "building"):
        show(page, stage, preview)
        shown = page.locator(f"{ACTIONS} form > button, {ACTIONS} summary").all_inner_texts()
        assert {each.strip() for each in shown} <= {row.text for row in TABLE}, preview
    page.close()


def test_redeploying_twice_by_a_double_click_deploys_once(dev: Page, stage: PageStage) -> None:
    before = view(dev, stage, "crashed")["generation"]
    show(dev, stage, "crashed")
    dev.get_by_role("button", name="Redeploy").dblclick()
    expect(dev.locator("#deployments")).to_contain_text(f"Deployment {before + 1}")
    assert view(dev, stage, "crashed")["generation"] == before + 1


def test_pinning_and_unpinning_by_keyboard(dev: Page, stage: PageStage) -> None:
    show(dev, stage, "failed")
    press(dev, dev.get_by_role("button", name="Pin", exact=True))
    expect(dev.get_by_role("button", name="Unpin")).to_be_visible()
    assert view(dev, stage, "failed")["is_pinned"]
    press(dev, dev.get_by_role("button", name="Unpin"))
    expect(dev.get_by_role("button", name="Pin", exact=True)).to_be_visible()
    assert not view(dev, stage, "failed")["is_pinned"]


def test_rolling_back(dev: Page, stage: PageStage) -> None:
    show(dev, stage, "live")
    press(dev, dev.locator("summary", has_text="Roll back…"))
    press(dev, dev.get_by_role("button", name="Launch commit a1a1a1a again"))
    expect(dev.locator("#deployments")).to_contain_text("Deployment 3")
    expect(dev.locator("#status")).to_contain_text("a1a1a1a is live", timeout=60_000)


def test_approving(dev: Page, stage: PageStage) -> None:
    show(dev, stage, "approval")
    dev.locator("summary", has_text="Approve…").click()
    dev.get_by_role("button", name="Approve commit f6f6f6f").click()
    expect(dev.locator("summary", has_text="Approve…")).to_have_count(0)
    assert view(dev, stage, "approval")["state"] != "refused"


def test_sharing_copying_and_revoking(dev: Page, stage: PageStage) -> None:
    show(dev, stage, "services")
    press(dev, dev.locator("summary", has_text="Share…"))
    dev.get_by_label("For whom").fill("the customer")
    dev.get_by_label("Valid for").select_option("1 hour")
    press(dev, dev.get_by_role("button", name="Create share link"))
    expect(dev.get_by_role("heading", level=1)).to_have_text("Share link to staging")
    url = dev.locator("main code").inner_text()
    dev.get_by_role("button", name="Copy the share link").click()
    assert dev.evaluate("navigator.clipboard.readText()") == url
    dev.get_by_role("link", name="Back to the preview").click()
    expect(dev.locator("#links")).to_contain_text("the customer")
    dev.get_by_role("button", name="Revoke the link the customer").click()
    expect(dev.locator("#links")).not_to_contain_text("the customer")


def test_viewers_see_no_share_links(contexts: dict[str, BrowserContext], stage: PageStage) -> None:
    page = contexts["vera"].new_page()
    show(page, stage, "services")
    expect(page.locator("#links")).to_be_empty()
    page.close()


def test_without_javascript(browser: Browser, stage: PageStage) -> None:
    context = browser.new_context(java_script_enabled=False)
    sign_in(context, stage, "vera")
    page = context.new_page()
    show(page, stage, "asleep")
    page.get_by_role("button", name="Wake").click()
    assert page.url == f"{stage.home}/previews/{stage.previews['asleep']}"
    assert view(page, stage, "asleep")["state"] != "asleep"
    context.close()


def test_removing_asks_first(dev: Page, stage: PageStage) -> None:
    show(dev, stage, "crashed")
    dev.locator("summary", has_text="Remove…").click()
    assert view(dev, stage, "crashed")["state"] != "gone"
    dev.get_by_role("button", name="Remove search").click()
    expect(dev.locator("#status")).to_contain_text("This preview was stopped manually")


def test_signing_out_from_any_page(browser: Browser, stage: PageStage) -> None:
    context = browser.new_context()
    sign_in(context, stage, "dev")
    page = context.new_page()
    show(page, stage, "live")
    page.get_by_role("banner").get_by_role("button", name="Sign out").click()
    page.goto(f"{stage.home}/account")
    assert "/login" in page.url
    context.close()
