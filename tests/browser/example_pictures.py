"""Pictures of previews for the stage: drawn, so that they need no Docker."""

from __future__ import annotations

import hashlib
import io
import tempfile
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw

from stager.control.pictures.package import Pictures
from stager.domain.pictures import View
from stager.engines.docker.pictures.comparison import changed_share, thumbnail_of
from stager.ports.pictures import MEMORY_SHORT, Album, Picture, PicturePorts
from stager.stores.pictures import FileAlbums
from stager.testing.fakes.clock import START
from tests.unit.control.pictures.test_rounds import Camera
from tests.unit.web.harness import WebHarness

HEIGHT = 900
COLOURS = ("#d8e8e4", "#f3dfc8", "#dcd9f0", "#e9d3d8", "#d7e3c4", "#cfdff0")


def page(width: int, total: str = "") -> bytes:
    """A shop's page as PNG.

    Args:
        total: a line that a change adds; empty for the page before.
    """
    image = Image.new("RGB", (width, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width, 72), fill="#1f4d46")
    draw.text((24, 18), "Potter & Daughter", fill="white", font_size=30)
    columns = max(1, width // 300)
    for number, colour in enumerate(COLOURS):
        left, top = 24 + number % columns * (width - 24) // columns, 104 + number // columns * 250
        draw.rectangle((left, top, left + (width - 24) // columns - 24, top + 180), fill=colour)
        draw.text((left, top + 190), f"Bowl no. {number + 1}", fill="#333", font_size=20)
    if total:
        draw.rectangle((0, HEIGHT - 110, width, HEIGHT), fill="#fff4d6")
        draw.text((24, HEIGHT - 75), total, fill="#333", font_size=26)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


async def add_pictures(harness: WebHarness, live: str, short: str) -> None:
    """Give the live preview pictures beside those of its base, and the other one a reason for none."""
    control = harness.harness.running.control_plane
    albums = FileAlbums(Path(tempfile.mkdtemp(prefix="stager-pictures-")))
    ports = replace(control.ports, pictures=PicturePorts(Camera(), albums))
    control.pictures = Pictures(ports, control.routing, control.environments.queries, lambda _: None, b"key")
    assert control.pictures.rounds is not None
    pictures: dict[str, bytes] = {}
    taken = [_compared(width, pictures) for width in (1280, 375)]
    problems = (
        "https://cdn.shop.test/reviews.js: net::ERR_NAME_NOT_RESOLVED",
        "TypeError: totl is not a function",
    )
    album = Album(
        await _serving(harness, live),
        START,
        (replace(taken[0], problems=problems), taken[1]),
        compared_with="main",
    )
    await albums.save(live, album, pictures, thumbnail_of(pictures[album.cover]))
    control.pictures.rounds.covers[live] = album.cover
    message = "There are no pictures yet: a browser needs 1 GB of memory, and 0.6 GB are available."
    hint = "They are taken once previews are removed or asleep."
    await albums.save(
        short, Album(await _serving(harness, short), START, (), MEMORY_SHORT, message, hint), {}
    )


def _compared(width: int, pictures: dict[str, bytes]) -> Picture:
    before, after = page(width), page(width, "Total: 84.00 EUR")
    keys = [hashlib.sha256(each).hexdigest() for each in (before, after)]
    pictures |= dict(zip(keys, (before, after), strict=True))
    return Picture(View("/", width), keys[1], 200, changed=changed_share(before, after), before=keys[0])


async def _serving(harness: WebHarness, environment: str) -> str:
    deployments = await harness.harness.store.read(lambda tx: tx.deployments(environment))
    return deployments[0].id
