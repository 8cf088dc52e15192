"""A row of the benchmarks: how it is measured, and how its raw figures are interpreted. The two are separate,
so that the page can be generated again from stored figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.testbed import Testbed

Figures = Mapping[str, Any]
"""Raw figures, as plain JSON types."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Args:
        floor: the cost without Stager, in words; `ours` is the cost with it.
        budget: the allowed `value`, in words.
        value: compared with `limit`; the budget is met if it isn't more.
        peer: what another program needs for the same; empty where there is none to compare with.
        headline: a sentence for the README, without the full stop; empty where the line isn't meant for it.
    """

    what: str
    floor: str
    ours: str
    budget: str
    value: float
    limit: float
    peer: str = ""
    headline: str = ""

    @property
    def met(self) -> bool:
        return self.value <= self.limit

    @property
    def share(self) -> float:
        """The used part of the budget; 0 if the budget is 0 and met."""
        return self.value / self.limit if self.limit else self.value


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of horizontal bars, the first of them the floor.

    Args:
        name: of its file, without the ending.
        bars: labels and values.
        unit: of the values.
    """

    name: str
    title: str
    unit: str
    bars: Sequence[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Args:
        name: on the command line, and of its file of figures.
        title: of its section on the page.
        about: how it is measured, in a paragraph.
        measure: takes the figures; some minutes at most.
        missed: why one of its budgets is missed; empty if none is.
    """

    name: str
    title: str
    about: str
    measure: Callable[[Testbed], dict[str, Any]]
    lines: Callable[[Figures], list[Line]]
    charts: Callable[[Figures], list[Chart]] = lambda _: []
    missed: str = ""
