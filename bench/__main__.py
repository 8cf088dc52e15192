"""`python -m bench [ROW...]`: measures these rows, or all, stores their figures, and generates the page
from all stored figures. Run it by scripts/bench, which installs what it needs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from time import monotonic

from bench import raw, report
from bench.row import Row
from bench.rows import ROWS
from bench.testbed import BenchOptions, Testbed


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 1 when a budget of a measured row is missed."""
    options = _parser().parse_args(arguments)
    rows = [row for row in ROWS if not options.rows or row.name in options.rows]
    missed = [] if options.report else [row.name for row in rows if not _measured(row, options)]
    report.write()
    print("· made docs/benchmarks.md of all figures that are kept")
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure Stager against its budgets.")
    names = [row.name for row in ROWS]
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(names)}; all of them without any")
    parser.add_argument("--report", action="store_true", help="measure nothing, only make the page again")
    parser.add_argument(
        "--cycles", type=int, default=BenchOptions().cycles, help="of the row leftovers (default %(default)s)"
    )
    parser.add_argument("--no-peers", action="store_true", help="measure Stager and its floors only")
    return parser


def _measured(row: Row, options: argparse.Namespace) -> bool:
    """Measure a row and store its figures. Returns whether it meets its budgets."""
    print(f"· measuring {row.name}", flush=True)
    begun = monotonic()
    with tempfile.TemporaryDirectory(prefix="stager-bench-") as folder:
        figures = row.measure(Testbed(Path(folder), BenchOptions(options.cycles, not options.no_peers)))
    raw.keep(row.name, figures)
    lines = row.lines(figures)
    for line in lines:
        verdict = "met" if line.met else "MISSED"
        print(f"  {line.what}: {line.ours} (floor {line.floor}; {line.budget}: {verdict}) {line.peer}")
    print(f"  in {monotonic() - begun:.0f} s", flush=True)
    return all(line.met for line in lines)


if __name__ == "__main__":
    sys.exit(main())
