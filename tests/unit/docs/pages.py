"""Reads the pages of the documentation: their headings, links and samples."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Sample:
    """A fenced block.

    Args:
        page: path relative to the checkout.
        line: number of its first line in the page.
    """

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """The README, the pages beside it, and all of `docs/`."""
    beside = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    return [*beside, *sorted(DOCS.rglob("*.md"))]


def prose(page: Path) -> str:
    """The text of a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def samples(*languages: str) -> list[Sample]:
    """All fenced blocks in these languages."""
    return [sample for page in pages() for sample in _samples_of(page) if sample.language in languages]


def _samples_of(page: Path) -> Iterator[Sample]:
    text = page.read_text("utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        yield Sample(page.relative_to(ROOT), line, match["language"], textwrap.dedent(match["text"]))


def headings(page: Path) -> list[str]:
    """The headings of a page."""
    return _HEADING.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub derives from them: lower case, without punctuation, dashes for spaces."""
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings(page))
    return {heading.replace(" ", "-") for heading in kept}


def links(page: Path) -> list[str]:
    """The targets of a page's links and pictures."""
    return _LINK.findall(prose(page))


def sections(page: Path, level: str = "##") -> dict[str, str]:
    """The text under each heading of this level, samples included, by heading."""
    parts = re.split(rf"^{level} +(.+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def first_cells(text: str) -> list[str]:
    """The code in the first cell of each row of the tables in a text."""
    return [
        name
        for row in re.findall(r"^\| *(`[^|]*) *\|", text, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    ]
