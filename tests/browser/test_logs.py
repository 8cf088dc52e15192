"""The logs on a preview's page, in a browser, of real builds and containers: live, searched, interrupted."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.cut_proxy import cut_proxy
from tests.browser.test_pages import look, slow
from tests.integration.building import MakeRig, Rig
from tests.integration.conftest import MakeStager
from tests.integration.stager import StagerUnderTest

COUNTS = "i=0; while [ $i -lt 99999 ]; do i=$((i+1)); echo tick $i; echo tock $i >&2; sleep 0.1; done"
COUNTER = {"image": "stager-base/static:1", "command": ["sh", "-c", COUNTS], "memory": "64m"}


def counting(make_stager: MakeStager) -> tuple[StagerUnderTest, str]:
    """A preview with a service that prints numbers, and the path of its page."""
    stager = make_stager(images={"shop": {"services": {"counter": COUNTER}, "memory": "384m"}})
    stager.launched("counts")
    return stager, f"/previews/{stager.environment('counts')['id']}"


def numbers(log: Locator, word: str) -> list[int]:
    """The numbers in the lines with this word."""
    lines = str(log.text_content()).splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith(f"{word} ")]


def assert_complete(log: Locator) -> None:
    """No line is missing, and none is there twice."""
    for word in ("tick", "tock"):
        found = numbers(log, word)
        assert found == list(range(found[0], found[0] + len(found))), word


def wait_for_more(page: Page, log: Locator, count: int = 20) -> None:
    """Wait for so many further lines of each stream."""
    newest = max(numbers(log, "tick"), default=0)
    expect(log).to_contain_text(f"tick {newest + count}\n", timeout=60_000)
    page.wait_for_timeout(100)


def test_a_services_log_survives_interruptions(make_stager: MakeStager, page: Page) -> None:
    """The connection is cut in the middle of the stream, and the server is killed and started again."""
    stager, path = counting(make_stager)
    with cut_proxy(stager.port) as proxy:
        look(page, f"http://127.0.0.1:{proxy.port}{path}?service=counter")
        expect(page.get_by_role("heading", name="Log of counter", exact=True)).to_be_visible()
        section = page.locator("#log")
        log = section.locator("pre")
        section.get_by_label("Follow").check()
        wait_for_more(page, log)
        for _ in range(3):
            assert proxy.cut() > 0
            wait_for_more(page, log)
            assert_complete(log)
        stager.kill9()
        expect(section.locator(".log-state")).to_contain_text("interrupted")
        stager.start()
        wait_for_more(page, log)
        assert_complete(log)
        expect(section.locator(".log-state")).to_be_empty()
        assert "lines are missing" not in str(log.text_content())


def test_a_build_is_followed_searched_and_downloaded(
    make_rig: MakeRig, browser: Browser, tmp_path: Path
) -> None:
    rig: Rig = make_rig()
    pushing = threading.Thread(target=lambda: rig.branch("feature", {"Dockerfile": slow(20)}))
    pushing.start()
    environment = rig.stager.wait_for("feature", "building")["id"]
    with (
        browser.new_context(viewport={"width": 375, "height": 667}) as context,
        cut_proxy(rig.stager.port) as proxy,
    ):
        page = context.new_page()
        page.set_default_timeout(60_000)
        look(page, f"http://127.0.0.1:{proxy.port}/previews/{environment}")
        log = page.locator("#build pre")
        expect(log).to_contain_text("line 3\n")
        proxy.cut()
        expect(log).to_contain_text("line 12\n")
        expect(page.locator("#status")).to_contain_text("is live.")
        text = str(log.text_content())
        assert [f"line {number}\n" in text for number in range(1, 21)] == [True] * 20
        assert text.count("line 7\n") == 1

        page.locator("#build").get_by_label("Search").fill("LINE 7")
        expect(page.locator("#build .log-found")).to_have_text("1 line")
        assert page.locator("#build .line:visible").count() == 1
        with page.expect_download() as download:
            page.locator("#build").get_by_role("link", name="Download").click()
        saved = tmp_path / "build.log"
        download.value.save_as(saved)
        assert "line 20\n" in saved.read_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
    pushing.join()


def test_a_log_is_chosen_without_a_script(make_stager: MakeStager, browser: Browser) -> None:
    stager, path = counting(make_stager)
    stager.launched("counts", VERSION="2")
    with browser.new_context(java_script_enabled=False, viewport={"width": 375, "height": 667}) as context:
        page = context.new_page()
        look(page, f"{stager.url}{path}")
        page.get_by_role("link", name="Log of counter").click()
        expect(page.get_by_role("heading", name="Log of counter", exact=True)).to_be_visible()
        expect(page.locator("#log pre")).to_contain_text("tick ")
        page.get_by_label("Logs of").select_option("web")
        page.get_by_label("Deployment").select_option("1")
        page.get_by_role("button", name="Show logs").click()
        expect(page.get_by_role("heading", name="Log of web, deployment 1", exact=True)).to_be_visible()
        expect(page.locator("#log pre")).to_contain_text("booting counts")
        assert page.url.endswith("?service=web&deployment=1#log-choice")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_a_log_is_chosen_and_followed_by_keyboard(make_stager: MakeStager, page: Page) -> None:
    stager, path = counting(make_stager)
    look(page, f"{stager.url}{path}")
    choice = page.get_by_label("Logs of")
    reach(page, choice)
    page.keyboard.press("c")  # the option that begins with it
    expect(choice).to_have_value("counter")
    reach(page, page.get_by_role("button", name="Show logs"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Log of counter", exact=True)).to_be_visible()
    follow = page.locator("#log").get_by_label("Follow")
    reach(page, follow)
    page.keyboard.press("Space")
    expect(follow).to_be_checked()
    wait_for_more(page, page.locator("#log pre"), 5)
    reach(page, page.locator("#log pre"))


def reach(page: Page, element: Locator) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(100):
        if element.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{element} can't be reached")


def test_an_eleventh_log_says_why_it_isnt_followed(make_stager: MakeStager, page: Page) -> None:
    stager, path = counting(make_stager)
    look(page, f"{stager.url}{path}?service=counter")
    cookies = {str(each["name"]): str(each["value"]) for each in page.context.cookies()}
    follow, state = page.locator("#log").get_by_label("Follow"), page.locator("#log .log-state")
    with ExitStack() as opened:
        client = opened.enter_context(httpx.Client(cookies=cookies, timeout=60, trust_env=False))
        for _ in range(10):
            opened.enter_context(client.stream("GET", f"{stager.url}{path}/log/events"))
        follow.click()
        expect(state).to_contain_text("You follow 10 logs already.")
        expect(follow).not_to_be_checked()
    follow.check()
    wait_for_more(page, page.locator("#log pre"), 5)
    expect(state).to_be_empty()
