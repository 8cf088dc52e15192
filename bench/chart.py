"""Draws bar charts as SVG."""

from __future__ import annotations

from html import escape

from bench.row import Chart

WIDTH, LABELS, VALUES = 720, 230, 90
"""Pixels: of the whole, of the column of labels, and of the room for the longest bar's value."""
BAR, GAP, TITLE = 22, 10, 40
FLOOR, OURS, OTHERS = "#8c959f", "#0969da", "#bf8700"

_STYLE = (
    "text{font:13px sans-serif;fill:#1f2328}.title{font-weight:bold;font-size:14px}.label{text-anchor:end}"
)


def drawn(chart: Chart) -> str:
    """The chart as the text of an SVG file."""
    longest = max(value for _, value in chart.bars)
    height = TITLE + len(chart.bars) * (BAR + GAP) + GAP
    bars = "".join(_bar(place, chart, longest) for place in range(len(chart.bars)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" role="img">\n'
        f"<title>{escape(_words(chart))}</title>\n<style>{_STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>\n'
        f'<text class="title" x="{GAP}" y="25">{escape(chart.title)}</text>\n{bars}</svg>\n'
    )


def _bar(place: int, chart: Chart, longest: float) -> str:
    label, value = chart.bars[place]
    top = TITLE + place * (BAR + GAP)
    width = max(1, round((WIDTH - LABELS - VALUES) * value / longest))
    colour = FLOOR if place == 0 else OURS if "Stager" in label else OTHERS
    middle = top + BAR - 6
    return (
        f'<text class="label" x="{LABELS - GAP}" y="{middle}">{escape(label)}</text>'
        f'<rect x="{LABELS}" y="{top}" width="{width}" height="{BAR}" rx="3" fill="{colour}"/>'
        f'<text x="{LABELS + width + 6}" y="{middle}">{_number(value)} {chart.unit}</text>\n'
    )


def _words(chart: Chart) -> str:
    """The chart as text, for readers who can't see it."""
    summary = ", ".join(f"{label} {_number(value)} {chart.unit}" for label, value in chart.bars)
    return f"{chart.title}: {summary}"


def _number(value: float) -> str:
    """The number with three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
