"""What programs print, as people read it."""

from __future__ import annotations

import re

_CODE = re.compile(r"`([^`\n]+)`")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
"""What colours terminals and moves their cursors: ECMA-48, sections 5.3 and 5.4, and titles of windows."""


def with_code(html: str) -> str:
    """The HTML with `<code>` for what stands between backticks.

    Args:
        html: escaped already: what stands there may be anybody's.
    """
    return _CODE.sub(r"<code>\1</code>", html)


def as_on_screen(line: str) -> str:
    """What a terminal would show of a line in the end: without colours, and without what a carriage return
    went back over."""
    return _ESCAPES.sub("", line).rstrip("\r").rpartition("\r")[2].rstrip()


def lines_on_screen(text: str) -> list[str]:
    """The lines of a text, each as a terminal would show it in the end."""
    return [as_on_screen(line) for line in text.rstrip("\n").split("\n")] if text else []


def binary_size(count: int) -> str:
    """Bytes for people, such as `512 MiB`."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} B"
