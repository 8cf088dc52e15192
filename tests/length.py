"""How long random tests look: for a moment with all the others, and at length when they are asked to.

`LONGER=50 pytest --timeout=0 tests/fuzz` tries fifty times as many cases, each time others.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

LONGER = int(os.environ.get("LONGER", "1"))

# How long an input takes depends on what else the machine does.
settings.register_profile(
    "stager", deadline=None, max_examples=100 * LONGER, suppress_health_check=[HealthCheck.too_slow]
)


def length(cases: int, steps: int = 50) -> settings:
    """Hypothesis's settings for a test that tries so many cases by default.

    Args:
        steps: of one history, for a state machine.
    """
    return settings(
        max_examples=cases * LONGER,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=set(Phase) - {Phase.explain},  # it traces each line, for minutes, to comment a failure
    )
