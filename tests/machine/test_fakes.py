"""Random histories of an installation, at length: the real control plane over fakes and on virtual time.

For any events in any order, and wherever the control plane is killed: once the faults stop, exactly what is
open and may run is running, at its newest revision, and nothing is left over. Unapproved code from forks
never runs.

`LONGER=30 pytest --timeout=0 tests/machine/test_fakes.py` plays thirty times as many of them.
"""

from __future__ import annotations

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.length import length
from tests.machine.installation import Installation, Machine, OutOfTouch, WithServices
from tests.machine.snapshots import WithSnapshots


@pytest.mark.parametrize(
    ("machine", "histories"),
    [
        (Installation, 30),
        (OutOfTouch, 30),
        (WithServices, 8),
        (WithSnapshots, 8),
    ],  # with services, each takes four times as long
)
def test_any_history_ends_with_what_is_open_running(machine: type[Machine], histories: int) -> None:
    run_state_machine_as_test(machine, settings=length(histories, steps=40))
