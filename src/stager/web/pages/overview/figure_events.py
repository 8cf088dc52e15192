"""Sends what previews use to open dashboards: one event for each measurement, made once for all viewers with
the same applications."""

from __future__ import annotations

import json
from collections.abc import Mapping

from stager.control.environments.consumption import ConsumptionMeter
from stager.web.pages.overview.figures import shown
from stager.web.pages.overview.tally import Tally
from stager.web.pages.preview_items import event


class FigureEvents:
    """The events of the latest measurement."""

    def __init__(self) -> None:
        self._number = 0
        self._figures: Mapping[str, list[int]] = {}
        self._changed: Mapping[str, list[int]] = {}
        self._texts: dict[tuple[frozenset[str], bool], str] = {}

    def text(self, meter: ConsumptionMeter, tally: Tally, apps: frozenset[str], since: int) -> str:
        """Return the event with the figures that have changed since a measurement; empty if none have.

        Args:
            apps: those whose previews the viewer may see.
            since: the number of the measurement that the viewer has; 0 for none.
        """
        self._advance(meter)
        is_next = since == self._number - 1 and since > 0
        key = apps, is_next
        if key not in self._texts:
            figures = self._changed if is_next else self._figures
            seen = {id_: each for id_, each in figures.items() if tally.app_of(id_) in apps}
            self._texts[key] = event("figures", "", json.dumps(seen)) if seen else ""
        return self._texts[key]

    def _advance(self, meter: ConsumptionMeter) -> None:
        """Take over the latest measurement. If one was missed, all of its figures count as changed."""
        if meter.number == self._number:
            return
        before = self._figures if meter.number == self._number + 1 else {}
        self._figures = {id_: shown(figures) for id_, figures in meter.figures.items()}
        self._changed = {id_: each for id_, each in self._figures.items() if before.get(id_) != each}
        self._number = meter.number
        self._texts.clear()
