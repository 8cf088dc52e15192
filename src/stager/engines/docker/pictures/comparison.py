"""Compares two pictures. Their bytes come from a browser that has run a stranger's page: the size in pixels
is read from the header before anything is decoded."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

from stager.domain.pictures import Box

MAX_WIDTH, MAX_HEIGHT = 3840, 4320
"""Pixels."""
THUMBNAIL = (160, 112)
"""Pixels: twice the size in lists, for sharp screens."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def is_usable(png: bytes) -> bool:
    """Whether these are the bytes of a PNG file of at most `MAX_WIDTH` and `MAX_HEIGHT`."""
    if len(png) < 33 or not png.startswith(SIGNATURE) or png[12:16] != b"IHDR":
        return False
    width, height = struct.unpack(">II", png[16:24])
    return bool(0 < width <= MAX_WIDTH and 0 < height <= MAX_HEIGHT)


def changed_share(before: bytes, after: bytes, ignored: Sequence[Box] = ()) -> float:
    """The share of pixels outside the ignored boxes that differ, from 0 to 1."""
    if before == after:
        return 0.0
    from PIL import Image, ImageChops, ImageDraw  # noqa: PLC0415 (takes 50 ms, and only pictures need it)

    with (
        Image.open(io.BytesIO(before), formats=["PNG"]) as one,
        Image.open(io.BytesIO(after), formats=["PNG"]) as two,
    ):
        size = (max(one.width, two.width), max(one.height, two.height))
        both = [Image.new("RGBA", size) for _ in range(2)]
        both[0].paste(one.convert("RGBA"))
        both[1].paste(two.convert("RGBA"))
    bands = ImageChops.difference(*both).split()
    most = bands[0]
    for band in bands[1:]:
        most = ImageChops.lighter(most, band)
    counted = Image.new("1", size, 1)
    for box in ignored:
        far = (box.x + box.width - 1, box.y + box.height - 1)
        ImageDraw.Draw(counted).rectangle(((box.x, box.y), far), fill=0)
    found = most.histogram(counted)
    return 1 - found[0] / sum(found) if sum(found) else 0.0


def thumbnail_of(png: bytes) -> bytes:
    """A small copy of the picture's upper part, as JPEG."""
    from PIL import Image, ImageOps  # noqa: PLC0415 (see above)

    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        small = ImageOps.fit(image.convert("RGB"), THUMBNAIL, centering=(0, 0))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=75, optimize=True)
    return file.getvalue()
