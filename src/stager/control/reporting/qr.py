"""QR codes as text. They need no image host, so they work where Stager itself can't be reached.

GitHub's line height leaves fine gaps between the lines. Decoders (zxing-cpp, OpenCV) read the code when it is
slightly blurred, as through a camera, but not from a sharp screenshot.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

QUIET = 4
"""Modules of quiet zone around it (ISO/IEC 18004, 5.3.8)."""
HALVES = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}
"""Two modules, one above the other, by which of them is dark."""


def is_reachable_elsewhere(url: str) -> bool:
    """Whether another machine, such as a phone, can reach the URL."""
    host = urlsplit(url).hostname or ""
    return host != "localhost" and not host.endswith(".localhost")


@lru_cache(maxsize=256)
def qr_lines(text: str) -> tuple[str, ...]:
    """The QR code of a text, two rows of modules per line."""
    # Imported here: it takes a few megabytes and milliseconds, needed for comments only.
    import segno  # noqa: PLC0415

    rows = [tuple(row) for row in segno.make_qr(text, error="l").matrix_iter(border=QUIET)]
    if len(rows) % 2:
        rows.append((0,) * len(rows[0]))
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return tuple("".join(HALVES[halves] for halves in zip(*pair, strict=True)) for pair in pairs)
