"""The hosts of a private preview's services in a browser: one visit opens all, and pages of other previews
get nothing of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import steady_chromium
from tests.integration.conftest import MakeStager
from tests.integration.stager import StagerUnderTest
from tests.unit.front.harness import free_port

DOMAIN = "preview.test"
SERVER = """
import http.server, json, os
SEEN = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path not in ("/seen", "/favicon.ico"):
            SEEN.append([self.command, self.path])
        body = json.dumps(SEEN).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        if self.headers.get("Origin") in os.environ["MAY_CALL"].split():
            self.send_header("Access-Control-Allow-Origin", self.headers["Origin"])
            self.send_header("Access-Control-Allow-Credentials", "true")
            self.send_header("Access-Control-Allow-Methods", "PUT")
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_PUT = do_OPTIONS = do_GET
http.server.ThreadingHTTPServer(("0.0.0.0", 3000), Handler).serve_forever()
"""
COMMAND = ["python3", "-c", SERVER]
PASSWORD = "open sesame"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for which all names under `DOMAIN` are this machine."""
    if steady_chromium.PROGRAM is None:
        pytest.skip("no Chromium: scripts/test installs one where the distribution has it")
    rules = f"--host-resolver-rules=MAP {DOMAIN} 127.0.0.1, MAP *.{DOMAIN} 127.0.0.1"
    options = ["--no-sandbox", "--no-proxy-server", "--disable-dev-shm-usage", rules]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=steady_chromium.__file__, args=options)
        yield browser
        browser.close()


class Site:
    """Two previews of a private application with the services `web` and `api`: `a`, which the visitor has
    opened, and `b`, a stranger's."""

    def __init__(self, make_stager: MakeStager, domain: str) -> None:
        self.port = free_port()
        self._domain = domain
        self.urls = {name: f"http://{name}.{domain}:{self.port}" for name in ("a", "api--a", "b", "api--b")}
        shop = {
            "command": COMMAND,
            "services": {
                "api": {
                    "image": "stager-test/app:1",
                    "command": COMMAND,
                    "routed": 3000,
                    "env": {"MAY_CALL": " ".join(self.urls.values())},
                }
            },
            "env": {"MAY_CALL": " ".join(self.urls.values())},
            "private": {"methods": ["password", "link"], "password": PASSWORD},
        }
        self.stager: StagerUnderTest = make_stager(
            start=False, domain=f"{domain}:{self.port}", images={"shop": shop}
        )
        self.stager.port = self.port
        self.stager.start()
        for name in ("a", "b"):
            body = {"image_name": "shop", "container_name": name}
            self.stager.api("/environments", "POST", json=body)
            self.stager.wait_for(name, "live")

    def link(self, name: str) -> str:
        path = f"/environments/{self.stager.environment(name)['id']}/share-links"
        return str(self.stager.api(path, "POST", json={})["url"])


def fetched(page: Page, url: str, **options: object) -> str:
    """What a page's script gets: the status and the text, or the error."""
    script = """([url, options]) => fetch(url, options).then(
        async (answer) => `${answer.status} ${await answer.text()}`, (error) => String(error))"""
    found: str = page.evaluate(script, [url, options])
    return found


def seen_by(page: Page, url: str) -> list[list[str]]:
    """The requests that the service at this host has got; the visitor is admitted there."""
    page.goto(f"{url}/seen")
    found: list[list[str]] = json.loads(page.locator("body").inner_text())
    return found


def test_one_visit_opens_all_hosts_and_their_pages_may_call_each_other(
    make_stager: MakeStager, page: Page
) -> None:
    site = Site(make_stager, DOMAIN)
    web, api = site.urls["a"], site.urls["api--a"]
    page.goto(site.link("a"))
    assert page.url == f"{web}/", "it ends where the link leads"
    assert fetched(page, f"{api}/x", credentials="include").startswith("200 ")
    assert fetched(page, f"{api}/y", credentials="include", method="POST").startswith("200 ")
    assert fetched(page, f"{api}/x", credentials="omit").startswith("TypeError"), "without the cookie"

    # A preflight has no cookie (WHATWG Fetch, section 4.8), so the gate can't know that it may pass.
    assert fetched(page, f"{api}/z", credentials="include", method="PUT").startswith("TypeError")
    assert seen_by(page, api) == [["GET", "/x"], ["POST", "/y"]]
    assert page.url == f"{api}/seen", "no login page"

    # The same with a password, at another host first, and in another browser session.
    context = page.context.browser.new_context() if page.context.browser else pytest.fail("no browser")
    other = context.new_page()
    other.goto(f"{api}/seen")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Open preview").click()
    other.wait_for_url(f"{api}/seen")
    other.goto(f"{web}/seen")
    assert other.url == f"{web}/seen"
    assert len({cookie["domain"] for cookie in context.cookies() if cookie["name"] == "stager-access"}) == 2
    context.close()


def test_a_page_of_another_preview_gets_nothing_and_changes_nothing(
    make_stager: MakeStager, page: Page
) -> None:
    """Both are one site for the browser, which sends the visitor's cookie along, and the application answers
    the stranger's page as its own."""
    site = Site(make_stager, DOMAIN)
    api = site.urls["api--a"]
    page.goto(site.link("a"))
    page.goto(site.link("b"))
    assert page.url == f"{site.urls['b']}/"
    for options in ({}, {"method": "POST"}):
        assert fetched(page, f"{api}/read", credentials="include", **options).startswith("TypeError")
    fetched(page, f"{api}/blind", credentials="include", mode="no-cors", method="POST")
    fetched(page, f"{api}/blind", credentials="include", mode="no-cors")
    page.set_content(f'<form method="post" action="{api}/form"><button>Win</button></form>')
    with page.expect_response(f"{api}/form") as answer:
        page.get_by_role("button", name="Win").click()
    assert answer.value.status == 401
    # Over plain HTTP, browsers don't tell a blind GET from a visitor who follows a link.
    assert seen_by(page, api) == [["GET", "/blind"]]


def test_on_localhost_one_visit_opens_all_hosts_too(make_stager: MakeStager, page: Page) -> None:
    """Each name under localhost is a site of its own, so requests between them have no cookies."""
    site = Site(make_stager, "localhost")
    web, api = site.urls["a"], site.urls["api--a"]
    page.goto(site.link("a"))
    assert page.url == f"{web}/"
    assert fetched(page, f"{api}/x", credentials="include").startswith("TypeError")
    page.goto(f"{api}/seen")
    assert page.url == f"{api}/seen"
