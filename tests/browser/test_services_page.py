"""A preview's page with services: on a telephone, and the sizes of its volumes."""

from __future__ import annotations

from playwright.sync_api import Page, Request, expect

from tests.browser.test_pages import look
from tests.integration.conftest import MakeStager
from tests.integration.stager import StagerUnderTest
from tests.integration.test_services import WITHOUT_JOB


def launched(make_stager: MakeStager) -> tuple[StagerUnderTest, str]:
    """A Stager, and the URL of its preview's page."""
    stager = make_stager(images={"shop": {"services": WITHOUT_JOB, "memory": "384m"}})
    stager.launched("jellyfish")
    return stager, f"{stager.url}/previews/{stager.environment('jellyfish')['id']}"


def test_it_fits_on_a_telephone(make_stager: MakeStager, page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 667})
    _, url = launched(make_stager)
    look(page, url)
    services = page.locator("#services")
    expect(services.get_by_role("row")).to_have_count(4)
    expect(services.get_by_role("cell", name="store", exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    wide = "(element) => element.scrollWidth > element.clientWidth"
    assert not services.locator(".scroll").evaluate(wide)


def test_sizes_of_volumes_are_computed_once(make_stager: MakeStager, page: Page) -> None:
    _, url = launched(make_stager)
    asked: list[str] = []

    def note(request: Request) -> None:
        if request.url.startswith(url):
            asked.append(request.url.removeprefix(url))

    look(page, url)
    page.on("request", note)
    page.get_by_role("link", name="Show the volumes, their sizes and what has changed").click()
    expect(page.locator("#volumes")).to_contain_text("until the preview is removed")
    with page.expect_request(lambda request: request.url == url and request.resource_type == "fetch"):
        pass  # the page refreshes itself
    page.wait_for_load_state("networkidle")
    expect(page.locator("#volumes")).to_contain_text("until the preview is removed")
    assert [query for query in asked if "volumes" in query] == ["?volumes=true"]
