"""Stager is killed while it works on previews with services. `scripts/soak` does it forty times."""

from __future__ import annotations

from tests.integration.conftest import MakeStager
from tests.integration.service_cycles import SERVICES, Cycles


def test_killed_at_random_moments_it_leaves_nothing_behind(make_stager: MakeStager) -> None:
    stager = make_stager(images={"shop": {"services": SERVICES, "memory": "384m"}})
    cycles = Cycles(stager, 1)
    cycles.run(4)
    cycles.settle()
    cycles.remove()
