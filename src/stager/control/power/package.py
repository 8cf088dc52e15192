"""The loops of sleep, composed."""

from __future__ import annotations

from datetime import timedelta

from stager.control.environments.power import Power
from stager.control.loops import Loop
from stager.control.ports import Ports
from stager.control.power.reclaim import Reclamation
from stager.control.power.sleep import IdleSleep
from stager.domain.application import Applications

SLEEP_INTERVAL = timedelta(seconds=10)
RECLAIM_INTERVAL = timedelta(seconds=30)


def loops_of(ports: Ports, applications: Applications, power: Power) -> list[Loop]:
    """The loops that put idle previews to sleep and, where the engine can pause, take their memory back."""
    sleep = Loop("sleep", IdleSleep(ports, applications, power).run, SLEEP_INTERVAL, after_adoption=True)
    if not ports.power.can_pause:
        return [sleep]
    return [sleep, Loop("memory", Reclamation(ports).run, RECLAIM_INTERVAL, after_adoption=True)]
