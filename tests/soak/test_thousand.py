"""A thousand known environments, 200 of them with a container, within the budgets of the benchmarks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.rows import thousand
from bench.testbed import BenchOptions, Testbed

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not os.environ.get("STAGER_SOAK"), reason="takes many minutes: scripts/soak runs it"),
]


def test_a_thousand_are_within_budget(tmp_path: Path) -> None:
    figures = thousand.measure(Testbed(tmp_path, BenchOptions()))
    for line in thousand.ROW.lines(figures):
        print(f"{line.what}: {line.ours} (floor {line.floor}; {line.budget})")
    missed = [line.what for line in thousand.ROW.lines(figures) if not line.met]
    assert not missed, figures["first_failures"]
