"""Takes the pictures of Stager's pages for the documentation: runs the demo, and opens the pages in Chromium.

With `--all FOLDER`, every page is also saved there in light and dark, wide and 375 pixels narrow, for review.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import comment_picture
import httpx
import page_pictures
import stage_pictures
from argon2 import PasswordHasher
from demo import BROKEN, Demo
from demo_browser import chromium
from demo_stage import ROOT, DemoError, wait_until
from playwright.sync_api import Browser, Page

TARGET = ROOT / "docs" / "images" / "dashboard.png"
DATA_TARGET = ROOT / "docs" / "images" / "data.png"
USER, PASSWORD = "ann", "only-for-the-pictures"
SETTINGS = f"""\
authentication_strategy: BasicAuthentication
users:
  - '{USER}:{PasswordHasher().hash(PASSWORD)}'
"""
WIDE, NARROW = 1100, 375
SERVICES, COMPOSE = "jellyfish", "harbour"
"""Branches with several services: one of them fails in a live preview, or the Compose file is refused."""
SERVED = ["httpd", "-f", "-p", "8080", "-h", "/usr"]
SERVICES_FILE = {
    "services": {
        "search": {"image": "stager-base/static:1", "command": SERVED, "volumes": ["index:/index"]},
        "admin": {"image": "stager-base/static:1", "command": SERVED, "routed": 8080},
        "worker": {
            "image": "stager-base/static:1",
            "command": ["sh", "-c", "echo no connection to the queue; sleep 4; exit 1"],
        },
    }
}
DATA = "starfish"
"""A branch whose volume is a clone of a snapshot."""
DATA_FILE = {
    "services": {
        "database": {
            "image": "stager-base/static:1",
            "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
            "volumes": ["database-data:/data"],
        }
    },
    "volumes": {"database-data": "clone"},
}
COMPOSE_FILE = """\
services:
  web:
    build: .
    ports: ["8080"]
    tty: true
    env_file: .env
  database:
    image: postgres:16
    privileged: true
    volumes: ["/srv/data:/var/lib/postgresql/data"]
"""


class Stage:
    """The demo's Stager with a user, and pages in which that user is signed in."""

    def __init__(self, demo: Demo, browser: Browser) -> None:
        self.demo = demo
        self.home = f"http://localhost:{demo.server.port}"
        self._browser = browser

    def prepare(self) -> None:
        """Launch a preview that is live, one that can't be built, one whose update fails, and two with
        several services."""
        self.demo.prepare()
        self.demo.open()
        self.demo.checkout.switch_to("night")
        self.demo.checkout.forget_file("tides.html")
        self.demo.checkout.push("night")
        files = {
            SERVICES: {".stager.yml": json.dumps(SERVICES_FILE)},
            DATA: {".stager.yml": json.dumps(DATA_FILE)},
            COMPOSE: {"compose.yaml": COMPOSE_FILE, ".stager.yml": "compose: true\n"},
        }
        for branch, written in files.items():
            self.demo.checkout.branch_off(branch)
            for path, text in written.items():
                self.demo.checkout.write(path, text)
        self.demo.checkout.push(*files)

    @contextmanager
    def page(self, width: int, scheme: str) -> Iterator[Page]:
        """A page in which the user is signed in.

        Args:
            scheme: `light` or `dark`.
        """
        context = self._browser.new_context(viewport={"width": width, "height": 560}, device_scale_factor=2)
        page = context.new_page()
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.goto(f"{self.home}/login")
        page.get_by_label("Name").fill(USER)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", level=1, name="Previews").wait_for()
        yield page
        context.close()

    def take_data(self, target: Path) -> None:
        """Save the section of a preview's page that says what its volumes started from."""
        with httpx.Client(
            base_url=f"{self.home}/api/v1", auth=(USER, PASSWORD), timeout=60, trust_env=False
        ) as api:
            preview = self._live(api)
            made = api.post(
                "/snapshots", json={"app": preview["app"], "preview": preview["id"], "name": "base"}
            )
            wait_until(lambda: _state(api, made.json()["id"]) == "ready", "the snapshot is ready")
            api.post(f"/environments/{preview['id']}/reset").raise_for_status()
            wait_until(lambda: self._live(api)["generation"] > preview["generation"], "the reset is live")
        with self.page(WIDE, "light") as page:
            page.goto(f"{self.home}/previews/{preview['id']}")
            page.locator("#data table").wait_for()
            page.locator("#data").screenshot(path=target)

    def _live(self, api: httpx.Client) -> dict[str, Any]:
        """The preview with data, once it is live."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [
                e for e in api.get("/environments").json() if e["name"] == DATA and e["state"] == "live"
            ]
            return bool(found)

        wait_until(look, f"{DATA} is live")
        return found[0]

    def take_all(self, folder: Path) -> None:
        """Save pages of the demo in light and dark, wide and narrow."""
        folder.mkdir(parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            for width in (WIDE, NARROW):
                with self.page(width, scheme) as page:
                    for name, url in self._urls(page):
                        page.goto(url)
                        page.wait_for_timeout(300)
                        page.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=True)
                    page.goto(self.home)
                    page.locator(".menu summary").first.click()
                    page.get_by_text("Remove…").first.click()
                    page.screenshot(path=folder / f"menu-{scheme}-{width}.png", full_page=True)
                    page.context.clear_cookies()
                    for name, path in (("home", "/"), ("login", "/login")):
                        page.goto(self.home + path)
                        page.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=True)

    def _urls(self, page: Page) -> list[tuple[str, str]]:
        port = self.demo.server.port
        names = (BROKEN, "night", SERVICES, COMPOSE)
        items = (page.locator("#previews li", has_text=name) for name in names)
        broken, update, services, compose = (each.locator("a.name").get_attribute("href") for each in items)
        return [
            ("dashboard", self.home),
            ("search", f"{self.home}/?q=nothing"),
            ("preview-failed", f"{self.home}{broken}"),
            ("preview-failed-update", f"{self.home}{update}"),
            ("preview-services", f"{self.home}{services}"),
            ("preview-volumes", f"{self.home}{services}?volumes=true#volumes"),
            ("preview-compose", f"{self.home}{compose}"),
            ("account", f"{self.home}/account"),
            ("setup", f"{self.home}/setup/github"),
            ("problem", f"{self.home}/previews/none"),
            ("front-compose", f"http://{COMPOSE}.localhost:{port}"),
            ("front-failed", f"http://{BROKEN}.localhost:{port}"),
            ("front-unknown", f"http://nothing.localhost:{port}"),
        ]


def _state(api: httpx.Client, snapshot: str) -> str:
    return str(api.get(f"/snapshots/{snapshot}").json()["state"])


def main() -> int:
    """Return 0, or 1 if the demo fails."""
    parser = argparse.ArgumentParser(
        prog="scripts/screenshots", description="Take the pictures of the pages for the documentation."
    )
    parser.add_argument("--port", type=int, default=8000, help="where Stager listens (default: %(default)s)")
    parser.add_argument("--all", type=Path, help="a folder for pictures of every page, for review")
    given = parser.parse_args()
    demo = Demo(ROOT / ".stager" / "screenshots", given.port, SETTINGS)
    try:
        with chromium() as browser:
            comment_picture.take(browser)
            pictures = page_pictures.take(browser)
            stage = Stage(demo, browser)
            demo.clean_up()
            stage.prepare()
            stage_pictures.take_dashboard(browser, TARGET)
            stage.take_data(DATA_TARGET)
            if given.all:
                stage.take_all(given.all)
                page_pictures.take_all(browser, given.all)
                stage_pictures.take_all(browser, given.all, [])
    except DemoError as error:
        print(f"✗ {error}\n  {error.hint}", file=sys.stderr)
        return 1
    finally:
        demo.clean_up()
    for path in (comment_picture.TARGET, TARGET, DATA_TARGET, *pictures):
        print(f"· {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
