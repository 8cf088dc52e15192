"""Generates docs/benchmarks.md, its charts and the README's lines from the stored figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import raw
from bench.chart import drawn
from bench.row import Line, Row
from bench.rows import NOT_YET, ROWS

ROOT = Path(__file__).resolve().parents[1]
PAGE, README, PICTURES = Path("docs/benchmarks.md"), Path("README.md"), Path("docs/images")
BEGIN, END = "<!-- benchmarks, made by scripts/bench -->\n", "<!-- end of benchmarks -->\n"
BEST = 3

_TOP = """<!-- Made by `scripts/bench --report` from the figures in bench/results. -->

# Benchmarks

What Stager costs. Each figure is next to its floor: the cost of the same without Stager, measured in the
same run, alternating with Stager. On another machine the figures differ, but their ratios hardly do. Each
has a budget, which was set before the first measurement. If another program does something comparable, its
figure is in the last column.

`scripts/bench` measures all rows in about forty minutes, `scripts/bench launch proxy` only those two. It
stores the raw figures in `bench/results/` and generates this page from them.

"""
_HEAD = "| what | without Stager | Stager | budget | | comparison |\n|---|---|---|---|---|---|\n"


@dataclass(frozen=True, slots=True)
class Measured:
    """A row with its figures: `kept` is the whole file."""

    row: Row
    kept: Mapping[str, Any]

    @property
    def lines(self) -> list[Line]:
        return self.row.lines(self.kept["figures"])


def made(rows: Sequence[Row] = ROWS, results: Path = raw.RESULTS) -> dict[Path, str]:
    """The generated files, by their paths within the checkout."""
    measured = [Measured(row, kept) for row in rows if (kept := raw.kept(row.name, results))]
    readme = (ROOT / README).read_text("utf-8")
    return {
        PAGE: _TOP + _table(measured) + "".join(map(_section, measured)) + _not_yet(rows, measured),
        README: with_best(readme, [line for one in measured for line in one.lines]),
        **dict(_pictures(measured)),
    }


def write() -> None:
    """Write all generated files."""
    for path, text in made().items():
        (ROOT / path).write_text(text, "utf-8")


def with_best(readme: str, lines: Sequence[Line]) -> str:
    """The README with the best lines between its two markers: of those with a headline that meet their
    budget, the ones that use the smallest part of it."""
    fit = sorted((line for line in lines if line.headline and line.met), key=lambda line: line.share)
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "".join(f"- {line.headline}.\n" for line in fit[:BEST]) + END + after


def _table(measured: Sequence[Measured]) -> str:
    lines = [line for one in measured for line in one.lines]
    rows = "".join(
        f"| {line.what} | {line.floor} | {line.ours} | {line.budget} | {_verdict(line)} | {line.peer} |\n"
        for line in lines
    )
    return _HEAD + rows


def _verdict(line: Line) -> str:
    return "met" if line.met else "**missed**"


def _section(one: Measured) -> str:
    row, kept = one.row, one.kept
    charts = "".join(f"![{c.title}](images/{c.name}.svg)\n\n" for c in row.charts(kept["figures"]))
    missed = [line for line in one.lines if not line.met]
    excuse = f"**Missed:** {row.missed or 'the cause is not known.'}\n\n" if missed else ""
    return f"\n## {row.title}\n\n{row.about}\n\n{charts}{excuse}{_taken_on(one)}\n"


def _taken_on(one: Measured) -> str:
    kept = one.kept
    versions = {**kept["versions"], **_versions_of_peer(kept["figures"])}
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return (
        f"Measured on {kept['date']} with {kept['cpus']} processors, Linux {kept['kernel']}, {named}."
        f" [Raw figures](../bench/results/{one.row.name}.json)."
    )


def _versions_of_peer(figures: Mapping[str, Any]) -> Mapping[str, str]:
    versions: Mapping[str, str] = figures.get("peer_versions", {})
    return versions


def _not_yet(rows: Sequence[Row], measured: Sequence[Measured]) -> str:
    unmeasured = {row.title: "no figures are stored" for row in rows if row not in [m.row for m in measured]}
    listed = "".join(f"- {what}: {why}.\n" for what, why in {**unmeasured, **NOT_YET}.items())
    return f"\n## Not measured yet\n\n{listed}"


def _pictures(measured: Sequence[Measured]) -> Iterator[tuple[Path, str]]:
    for one in measured:
        for chart in one.row.charts(one.kept["figures"]):
            yield PICTURES / f"{chart.name}.svg", drawn(chart)
