"""The pages of the front in a browser: readable for everybody, and they turn into the preview."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect

from stager.domain.route import Endpoint, RouteTable, Target
from stager.front.process.client import FrontClient
from stager.testing.example_pages import example_pages
from stager.testing.front_process import running_front
from tests.unit.front.harness import free_port

PAGES = example_pages(datetime.now(UTC))
BUILDING = PAGES["building"]
DOMAIN, HOST = "localhost", "summer-sale.localhost"
UNKNOWN, AWAY = "never-heard-of.localhost", "away.localhost"


class App(BaseHTTPRequestHandler):
    """An application that is live: it notes the paths that are requested."""

    paths: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.paths.append(self.path)
        body = b"<!doctype html><title>Shop</title><h1>The summer sale</h1>"
        self.send_response(404 if self.path.startswith("/.well-known/") else 200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def app() -> Iterator[Endpoint]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), App)
    App.paths.clear()
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield Endpoint("127.0.0.1", server.server_port)
    server.shutdown()
    serving.join()
    server.server_close()


@dataclass
class Front:
    """A front without a control plane."""

    folder: Path
    port: int
    routes: dict[str, Target] = field(default_factory=dict)

    def show(self, target: Target) -> None:
        """Replace the target of `HOST`."""
        self.routes[HOST] = target
        changing = threading.Thread(target=lambda: asyncio.run(self._apply()))  # Playwright's loop runs here
        changing.start()
        changing.join()

    async def _apply(self) -> None:
        client = FrontClient(self.folder)
        await client.apply(table_of(self.routes))
        await client.close()

    def url(self, host: str = HOST, path: str = "/") -> str:
        return f"http://{host}:{self.port}{path}"


def table_of(routes: Mapping[str, Target]) -> RouteTable:
    return RouteTable(routes, DOMAIN)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    front = Front(tmp_path / "front", free_port())
    front.routes = {f"{name}.localhost": page for name, page in PAGES.items()}
    front.routes |= {AWAY: Endpoint("127.0.0.1", free_port())}
    with running_front(front.folder, front.port, table_of(front.routes)):
        yield front


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_them(browser: Browser, front: Front, scheme: str) -> None:
    """Axe finds nothing, a phone needs no horizontal scrolling, and nothing is loaded from elsewhere."""
    hosts = [*(f"{name}.localhost" for name in PAGES), UNKNOWN, AWAY, DOMAIN]
    with browser.new_context(viewport={"width": 320, "height": 640}) as context:
        page = context.new_page()
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: asked.append(message.text) if "Policy" in message.text else None)
        for host in hosts:
            page.goto("about:blank")
            asked.clear()
            page.goto(front.url(host))
            assert page.title() == page.get_by_role("heading", level=1).inner_text(), host
            found = Axe().run(page, options={"resultTypes": ["violations"]})
            assert found.violations_count == 0, f"{host}: {found.generate_report()}"
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, host
            assert {url for url in asked if not url.startswith(front.url(host))} == set(), host


def test_the_log_and_the_links_are_reached_by_keyboard(front: Front, page: Page) -> None:
    page.goto(front.url("failed-checking.localhost"))
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText"))
    assert reached == [
        "Last lines of the log",
        "What Stager found in the Compose file",
        "Pull request #7",
        "Logs and deployments",
    ]


def test_the_log_of_a_build_grows_where_it_is(front: Front, page: Page) -> None:
    """Without a reload: the focus stays, and a reader who scrolled back isn't interrupted."""
    lines = tuple(f"line {number}" for number in range(200))
    front.show(replace(BUILDING, lines=lines))
    page.goto(front.url())
    log = page.get_by_role("region", name="Build log")
    expect(log).to_contain_text("line 199")
    assert log.evaluate("log => log.scrollTop") == 0, "its end is shown"
    log.focus()
    log.evaluate("log => { log.scrollTop = -500; log.marked = true; }")
    front.show(replace(BUILDING, lines=(*lines, "<b>line 200</b>")))
    expect(log).to_contain_text("<b>line 200</b>")
    assert (
        log.evaluate("log => [log.marked, log.scrollTop < -400, document.activeElement === log]")
        == [True] * 3
    )
    assert page.locator("b").count() == 0


@pytest.mark.parametrize("first", ["queued", "building", "starting", "failed", "approval", "gone"])
def test_a_page_turns_into_the_preview(front: Front, app: Endpoint, page: Page, first: str) -> None:
    """The application gets the request for the visitor's URL once: it may have a token that is valid once."""
    page.clock.install()
    front.show(PAGES[first])
    page.goto(front.url(path="/confirm?token=1#top"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("summer-sale")
    front.show(app)
    page.clock.run_for(20_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("The summer sale")
    assert page.url == front.url(path="/confirm?token=1#top")
    assert [path for path in App.paths if path != "/favicon.ico"] == [
        "/.well-known/stager/page",
        "/confirm?token=1",
    ]


def test_a_failed_page_follows_the_next_push(front: Front, page: Page) -> None:
    page.clock.install()
    front.show(PAGES["failed"])
    page.goto(front.url())
    expect(page.get_by_role("status")).to_contain_text("could not be started")
    status = page.get_by_role("status")
    status.evaluate("status => { status.marked = true; }")
    front.show(BUILDING)
    page.clock.run_for(20_000)
    expect(status).to_contain_text("is being built")
    assert page.title() == "summer-sale is being built"
    assert status.evaluate("status => status.marked"), "a screen reader announces changes of the same element"
    expect(page.locator("body")).to_have_class("wait")


def test_it_works_without_a_script(browser: Browser, front: Front, app: Endpoint) -> None:
    front.show(BUILDING)
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(front.url())
        expect(page.get_by_role("heading", level=1)).to_have_text("summer-sale is being built")
        front.show(app)
        expect(page.get_by_role("heading", level=1)).to_have_text("The summer sale", timeout=20_000)


def test_a_form_that_was_sent_isnt_sent_again(front: Front, page: Page) -> None:
    page.clock.install()
    front.show(Endpoint("127.0.0.1", free_port()))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    page.set_content(f'<form method="post" action="{front.url()}"><button>Send</button></form>')
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("does not respond")
    page.clock.run_for(60_000)
    assert [one for one in asked if "favicon" not in one] == [f"POST {front.url()}"]
