"""The benchmarks page, its charts and the README's lines are generated from the stored raw figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench import raw
from bench.chart import drawn
from bench.report import BEGIN, END, PAGE, README, made, with_best
from bench.row import Chart, Line
from bench.rows import ROWS
from tests.unit.docs.pages import ROOT

MADE = made()


@pytest.mark.parametrize("path", MADE, ids=str)
def test_is_generated_from_the_figures(path: Path) -> None:
    assert (ROOT / path).read_text("utf-8") == MADE[path], "run scripts/bench --report"


def test_there_is_no_other_chart() -> None:
    existing = {picture.relative_to(ROOT) for picture in (ROOT / "docs" / "images").glob("bench-*.svg")}
    assert existing == {path for path in MADE if path.suffix == ".svg"}


@pytest.mark.parametrize("file", sorted(raw.RESULTS.iterdir()), ids=lambda path: path.name)
def test_figures_belong_to_a_row_and_have_no_path_of_the_machine(file: Path) -> None:
    assert file.stem in {row.name for row in ROWS}
    kept = json.loads(file.read_text())
    assert kept.keys() == {"row", "date", "cpus", "kernel", "versions", "figures"}
    assert not re.search(r"/(work|tmp|home|root|usr)\b", file.read_text())


def test_other_figures_change_the_page(tmp_path: Path) -> None:
    kept = json.loads((raw.RESULTS / "routes.json").read_text())
    kept["figures"]["many"] = [figure * 10 for figure in kept["figures"]["many"]]
    (tmp_path / "routes.json").write_text(json.dumps(kept))
    page = made(results=tmp_path)[PAGE]
    assert "**missed**" in page
    assert "- Launching a prebuilt image: no figures are stored." in page


def test_the_readme_has_no_line_that_misses_its_budget() -> None:
    def line(value: float, headline: str) -> Line:
        return Line("it", "1", "2", "3", value, 1.0, headline=headline)

    lines = [line(0.9, "close"), line(1.1, "missed"), line(0.1, "best"), line(0.0, ""), line(0.5, "good")]
    readme = f"before\n{BEGIN}old\n{END}after\n"
    assert with_best(readme, lines) == f"before\n{BEGIN}- best.\n- good.\n- close.\n{END}after\n"


def test_the_readme_has_three_lines() -> None:
    between = (ROOT / README).read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    assert len(between.splitlines()) == 3


def test_a_chart_is_in_proportion() -> None:
    picture = drawn(Chart("x", "A <b>", "ms", [("by hand", 10.0), ("Stager", 20.0)]))
    widths = [int(width) for width in re.findall(r'width="(\d+)" height="22"', picture)]
    assert widths[0] * 2 == widths[1]
    assert "A &lt;b&gt;: by hand 10 ms, Stager 20 ms" in picture
