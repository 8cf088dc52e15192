"""Takes the pictures of the front's pages for the documentation, such as docs/images/page-building.png.

The pages are those of a real front, with the examples of `stager.testing.example_pages`.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from socket import create_server

from demo_stage import ROOT
from PIL import Image
from playwright.sync_api import Browser, Page

from stager.domain.route import Endpoint, RouteTable, Target
from stager.testing.example_pages import example_pages
from stager.testing.front_process import running_front

TARGETS = {
    "building": ROOT / "docs" / "images" / "page-building.png",
    "failed": ROOT / "docs" / "images" / "page-failed.png",
}
"""Pictures for the documentation, by the page."""
PHONES = ROOT / "docs" / "images" / "page-phones.png"
ON_PHONES = (("waking", "light"), ("queued-for-room", "dark"), ("gone", "light"))
"""Pages that are shown side by side on phones."""
WIDE, NARROW, PHONE_HEIGHT = 760, 360, 560
FRAMES = """\
body { margin: 0; padding: 24px; display: flex; gap: 40px; background: #fff; }
img { border: 10px solid #2b2a27; border-radius: 32px; }
"""
DOMAIN = "previews.localhost"
COLOURS = 256
"""Of the pictures in the documentation, for a third of their size."""


def take(browser: Browser) -> list[Path]:
    """Save the pictures of the documentation; returns where."""
    with _served() as port:
        for name, target in TARGETS.items():
            with _opened(browser, port, name, "light", WIDE) as page:
                page.screenshot(path=target, full_page=True)
        _take_phones(browser, port)
    pictures = [*TARGETS.values(), PHONES]
    for picture in pictures:
        Image.open(picture).quantize(COLOURS).save(picture, optimize=True)
    return pictures


def take_all(browser: Browser, folder: Path) -> None:
    """Save every page in light and dark, wide and narrow, for review."""
    with _served() as port:
        for name in (*example_pages(datetime.now(UTC)), "unknown", "unreachable"):
            for scheme in ("light", "dark"):
                for width in (WIDE, NARROW):
                    with _opened(browser, port, name, scheme, width) as page:
                        page.screenshot(path=folder / f"front-{name}-{scheme}-{width}.png", full_page=True)


@contextmanager
def _served() -> Iterator[int]:
    """Run a front; yields its port."""
    routes: dict[str, Target] = {
        f"{n}.{DOMAIN}": page for n, page in example_pages(datetime.now(UTC)).items()
    }
    routes[f"unreachable.{DOMAIN}"] = Endpoint("127.0.0.1", _free_port())
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        table = RouteTable(routes, DOMAIN)
        with running_front(Path(folder) / "front", port, table):
            yield port


@contextmanager
def _opened(
    browser: Browser, port: int, name: str, scheme: str, width: int, height: int = 200
) -> Iterator[Page]:
    """Open the page of this name.

    Args:
        scheme: `light` or `dark`.
        width: of the window, in CSS pixels, as the height.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=2)
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.goto(f"http://{name}.{DOMAIN}:{port}")
    yield page
    context.close()


def _take_phones(browser: Browser, port: int) -> None:
    """Save several pages beside each other, each in the frame of a phone."""
    shots = []
    for name, scheme in ON_PHONES:
        with _opened(browser, port, name, scheme, NARROW, PHONE_HEIGHT) as page:
            shots.append(base64.b64encode(page.screenshot()).decode())
    page = browser.new_page(viewport={"width": 1268, "height": 200}, device_scale_factor=2)
    images = "".join(f'<img src="data:image/png;base64,{shot}" width="{NARROW}">' for shot in shots)
    page.set_content(f"<!doctype html><style>{FRAMES}</style>{images}")
    page.screenshot(path=PHONES, full_page=True)
    page.close()


def _free_port() -> int:
    with create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
