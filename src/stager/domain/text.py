"""What programs print, as people read it."""

from __future__ import annotations

import re

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
"""What colours terminals and moves their cursors: ECMA-48, sections 5.3 and 5.4, and titles of windows."""


def as_on_screen(line: str) -> str:
    """What a terminal would show of a line in the end: without colours, and without what a carriage return
    went back over."""
    return _ESCAPES.sub("", line).rstrip("\r").rpartition("\r")[2].rstrip()


def lines_on_screen(text: str) -> list[str]:
    """The lines of a text, each as a terminal would show it in the end."""
    return [as_on_screen(line) for line in text.rstrip("\n").split("\n")] if text else []
