"""Random histories of an installation, at length: the real control plane over fakes and on virtual time.

Whatever happens, in whatever order, and wherever the control plane dies: once the faults stop, it comes to
rest with exactly what may run of what is open running, the newest revision of it, and nothing left over; and
strangers' code that nobody has approved doesn't run for a moment.

`HISTORIES=5000 pytest --timeout=0 tests/machine/test_fakes.py` plays more of them.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.installation import Installation, Machine, OutOfTouch

HISTORIES = int(os.environ.get("HISTORIES", "150"))
LENGTH = settings(
    max_examples=HISTORIES, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("machine", [Installation, OutOfTouch])
def test_any_history_ends_with_what_is_open_running(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=LENGTH)
