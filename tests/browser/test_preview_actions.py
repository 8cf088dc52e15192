"""Each button of a preview's page on a real Stager with Docker, and a share link in a browser without a
session."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.integration.conftest import MakeStager
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, until
from tests.integration.test_services import WITHOUT_JOB

PATIENCE = 90_000
NAME = "guarded"


def signed_in(stager: StagerUnderTest, page: Page) -> str:
    """Sign in at the preview's page. Returns its URL."""
    environment = stager.environment(NAME)["id"]
    url = f"http://localhost:{stager.port}/previews/{environment}"
    page.goto(url)
    page.get_by_label("Name").fill(USER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(url)
    return url


def state_of(stager: StagerUnderTest) -> dict[str, Any]:
    return stager.environment(NAME)


def mark(page: Page) -> Any:
    return expect(page.locator("#status .mark"))


def test_what_each_does(make_stager: MakeStager, page: Page, browser: Browser) -> None:
    private = {"methods": ["sign-in", "link"]}
    shop = {"services": WITHOUT_JOB, "memory": "384m", "private": private}
    stager = make_stager(start=False, images={"shop": shop}, roles={f"basic:{USER}": "administrator"})
    stager.start()
    stager.launch(NAME)
    stager.wait_for(NAME, "live")
    signed_in(stager, page)
    mark(page).to_have_text("live")

    page.get_by_role("button", name="Redeploy").dblclick()
    until(lambda: state_of(stager)["serving"] == 2, "the second deployment is live")
    expect(page.locator("#deployments")).to_contain_text("Deployment 2", timeout=PATIENCE)
    assert state_of(stager)["generation"] == 2

    page.get_by_role("button", name="Sleep").click()
    mark(page).to_have_text("asleep", timeout=PATIENCE)
    page.get_by_role("button", name="Wake").click()
    mark(page).to_have_text("live", timeout=PATIENCE)

    page.get_by_role("button", name="Pin", exact=True).click()
    expect(page.get_by_role("button", name="Unpin")).to_be_visible(timeout=PATIENCE)
    assert state_of(stager)["is_pinned"]

    share_in_another_browser(page, browser)

    page.locator("summary", has_text="Reset data…").click()
    page.get_by_role("button", name=f"Replace the data of {NAME}").click()
    until(lambda: state_of(stager)["serving"] == 3, "the deployment with empty volumes is live")

    page.get_by_role("link", name="Deployment 3", exact=True).click(timeout=PATIENCE)
    expect(page.locator("main")).to_contain_text("python3 /server.py")
    page.go_back()

    page.locator("#actions summary", has_text="Remove…").click()
    page.get_by_role("button", name=f"Remove {NAME}").click()
    until(lambda: state_of(stager)["state"] == "gone", "it is removed")
    until(lambda: not stager.containers(), "no container is left")


def share_in_another_browser(page: Page, browser: Browser) -> None:
    """Create a link, open it without a session, and revoke it."""
    page.locator("summary", has_text="Share…").click()
    page.get_by_label("For whom").fill("the customer")
    page.get_by_role("button", name="Create share link").click()
    url = page.locator("main code").inner_text()
    with browser.new_context() as theirs:
        customer = theirs.new_page()
        customer.set_default_timeout(PATIENCE)
        customer.goto(url)
        expect(customer.locator("body")).to_have_text(NAME, timeout=PATIENCE)
        page.get_by_role("link", name="Back to the preview").click()
        page.get_by_role("button", name="Revoke the link the customer").click()
        expect(page.locator("#links")).not_to_contain_text("the customer")
        customer.reload()
        expect(customer.get_by_role("heading", level=1)).to_have_text("This preview is private")
    with browser.new_context() as late:
        visitor = late.new_page()
        visitor.goto(url)
        expect(visitor.get_by_role("heading", level=1)).to_have_text("This preview is private")
