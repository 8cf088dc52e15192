"""Reads QR codes that are text, with a decoder that isn't ours."""

from __future__ import annotations

from collections.abc import Sequence

import zxingcpp

DARK, LIGHT = 0, 255
TOP, BOTTOM = "▀█", "▄█"
"""The characters whose upper and lower half is dark."""
SIZE = 3
"""Pixels of a module."""


def read(lines: Sequence[str]) -> str:
    """What the code in these lines says. The light at their end needn't be written out."""
    width = max(len(line) for line in lines)
    lines = [line.ljust(width) for line in lines]
    rows = [[DARK if c in half else LIGHT for c in line] for line in lines for half in (TOP, BOTTOM)]
    pixels = bytes(p for row in rows for _ in range(SIZE) for p in row for _ in range(SIZE))
    picture = memoryview(pixels).cast("B", (len(rows) * SIZE, len(rows[0]) * SIZE))
    [code] = zxingcpp.read_barcodes(picture)
    return str(code.text)
