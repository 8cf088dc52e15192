"""Stager's own page of a preview, in a browser, while its image is really built."""

from __future__ import annotations

import threading
from uuid import uuid4

from playwright.sync_api import Browser, Page, expect

from tests.integration.building import DOCKERFILE, MakeRig, Rig
from tests.integration.stager import PASSWORD, USER

NASTY = "<img src=x onerror=alert(1)>"


expect.set_options(timeout=60_000)


def slow(seconds: int) -> str:
    """A Dockerfile that takes so long. Of another id each time, or BuildKit would have it in its cache."""
    lines = f"for i in $(seq {seconds}); do echo line $i; sleep 1; done"
    return f"{DOCKERFILE}RUN echo {uuid4()} '{NASTY}'; {lines}\n"


def look(page: Page, url: str) -> None:
    """Go there, by way of the page that asks who one is."""
    page.goto(url)
    page.fill("input[name=user]", USER)
    page.fill("input[name=password]", PASSWORD)
    page.click("form button")
    expect(page.locator("#status")).to_be_visible()
    assert page.url == url


def test_the_page_follows_a_build_until_it_is_live(make_rig: MakeRig, browser: Browser) -> None:
    """The page updates without a reload, and the output of a build is shown as text."""
    rig: Rig = make_rig()
    pushing = threading.Thread(target=lambda: rig.branch("feature", {"Dockerfile": slow(15)}))
    pushing.start()
    environment = rig.stager.wait_for("feature", "building")["id"]
    errors: list[str] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: errors.append(f"a dialog: {dialog.message}"))
        look(page, f"{rig.stager.url}/previews/{environment}")
        expect(page.locator("#status")).to_contain_text("The preview is being built.")
        expect(page.locator("#build pre")).to_contain_text("line 3")
        expect(page.locator("#build pre")).to_contain_text(NASTY)
        assert page.locator("#build img").count() == 0
        expect(page.locator("#status")).to_contain_text("is live.")
        expect(page.locator("#build pre")).to_contain_text("line 15")
        expect(page.locator("#deployments")).to_contain_text("live")
        assert page.title() == "feature: live"
        rig.push("feature", {"Dockerfile": slow(3)})
        expect(page.locator("#deployments .timeline > li")).to_have_count(2)
        expect(page.locator("#status")).to_contain_text("is live.")
    pushing.join()
    assert errors == []


def test_it_is_for_signed_in_users_only(make_rig: MakeRig, page: Page) -> None:
    rig: Rig = make_rig()
    rig.branch("feature")
    rig.shows("feature", "feature")
    answer = page.request.get(f"{rig.stager.url}/previews/{rig.stager.environment('feature')['id']}")

    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_it_fits_a_phone_screen(make_rig: MakeRig, browser: Browser) -> None:
    rig: Rig = make_rig()
    rig.branch("feature-with-a-name-that-is-rather-long-for-any-telephone")
    environment = rig.stager.wait_for("feature-with-a-name-that-is-rather-long-for-any-telephone", "live")
    with browser.new_context(viewport={"width": 360, "height": 640}) as context:
        page = context.new_page()
        look(page, f"{rig.stager.url}/previews/{environment['id']}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
