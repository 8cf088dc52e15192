"""QR codes as text: they need no host for an image, so they work where Stager itself can't be reached.

GitHub sets lines of code apart, which leaves fine gaps in it. Decoders (zxing-cpp, OpenCV) read it once it is
blurred a little, as through a camera, but not as a sharp screenshot.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

QUIET = 4
"""Modules of free space around it (ISO/IEC 18004, 5.3.8)."""
HALVES = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}
"""Two modules, one above the other, by which of them is dark."""


def leads_elsewhere(url: str) -> bool:
    """Whether another machine, such as a telephone, may get there."""
    host = urlsplit(url).hostname or ""
    return host != "localhost" and not host.endswith(".localhost")


@lru_cache(maxsize=256)
def qr_lines(text: str) -> tuple[str, ...]:
    """The QR code of a text, two rows of it in each line."""
    # Costs a few megabytes and milliseconds, which only those who comment pay.
    import segno  # noqa: PLC0415

    rows = [tuple(row) for row in segno.make_qr(text, error="l").matrix_iter(border=QUIET)]
    if len(rows) % 2:
        rows.append((0,) * len(rows[0]))
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return tuple("".join(HALVES[halves] for halves in zip(*pair, strict=True)) for pair in pairs)
