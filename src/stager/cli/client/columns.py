"""A table that fits a terminal: columns are dropped before a cell is cut, and none is wrapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GAP = "  "
MIN_CUT = 8
"""The shortest width that a cell is cut to."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Args:
        rank: columns with the highest rank are dropped first; those of rank 0 never are.
        max_width: longer cells are cut on a terminal; 0: no limit.
        can_shrink: whether cells are cut further if the rest still doesn't fit.
    """

    heading: str
    rank: int = 0
    max_width: int = 0
    can_shrink: bool = False


def lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int = 0) -> list[str]:
    """Format a table, headings first.

    Args:
        width: of the terminal, in cells; 0: unlimited, with all columns and whole cells.
    """
    table = [[column.heading for column in columns], *([*row] for row in rows)]
    kept = list(range(len(columns)))
    widths = [max(_cells(row[i]) for row in table) for i in kept]
    if width:
        widths = [min(w, c.max_width) if c.max_width else w for w, c in zip(widths, columns, strict=True)]
        kept = _kept(columns, widths, width)
        _shrink(columns, widths, kept, width)
    return [_line([_padded(row[i], widths[i]) for i in kept]) for row in table]


def _kept(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    kept = list(range(len(columns)))
    while _total(widths, kept) > width:
        last = max(kept, key=lambda i: columns[i].rank)
        if not columns[last].rank:
            break
        kept.remove(last)
    return kept


def _shrink(columns: Sequence[Column], widths: list[int], kept: Sequence[int], width: int) -> None:
    for i in kept:
        excess = _total(widths, kept) - width
        if excess > 0 and columns[i].can_shrink:
            widths[i] = max(MIN_CUT, widths[i] - excess)


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[i] for i in kept) + len(GAP) * (len(kept) - 1)


def _padded(text: str, width: int) -> str:
    if _cells(text) > width:
        while _cells(text) > width - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (width - _cells(text))


def _line(cells: Sequence[str]) -> str:
    return GAP.join(cells).rstrip()


def _cells(text: str) -> int:
    """Cells of a terminal that the text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 (needed for other alphabets only)

    return cell_len(text)
