"""When previews were last requested, and put to sleep or woken."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from stager.domain.traffic import Activity
from stager.ports.store import StateKind, Transaction

INACCURACY = timedelta(seconds=2)
"""Between the clocks of the front and of the control plane."""


@dataclass(frozen=True, slots=True)
class Visits:
    """What is stored about the use of one preview.

    Args:
        last: the last request that it served, as far as it is stored; None: none yet.
        since: when it was put to sleep or woken last; None: never.
    """

    last: datetime | None = None
    since: datetime | None = None


def visits_of(tx: Transaction, environment_id: str) -> Visits:
    """The stored visits of this environment."""
    return _read(tx.environment_state(environment_id, StateKind.ACTIVITY))


def all_visits(tx: Transaction) -> dict[str, Visits]:
    """The stored visits of all environments that have any, by their ids."""
    return {key: _read(text) for key, text in tx.environment_states(StateKind.ACTIVITY).items()}


def last_visit(visits: Visits, hosts: Iterable[str], activity: Activity, now: datetime) -> datetime | None:
    """The last request to any of these hosts: the stored one, or a newer one that the front knows; None if
    neither is known."""
    idle = min((activity.idle[host] for host in hosts if host in activity.idle), default=None)
    if idle is None:
        return visits.last
    seen, stored = now - timedelta(seconds=idle), visits.last
    return seen if stored is None or seen - stored > INACCURACY else stored


def save_visits(tx: Transaction, environment_id: str, visits: Visits) -> None:
    """Store the visits; they replace the earlier ones."""
    stamps = {
        name: moment.isoformat()
        for name, moment in (("last", visits.last), ("since", visits.since))
        if moment is not None
    }
    tx.save_environment_state(environment_id, StateKind.ACTIVITY, json.dumps(stamps))


def _read(text: str) -> Visits:
    stamps = json.loads(text) if text else {}
    return Visits(**{name: datetime.fromisoformat(stamp) for name, stamp in stamps.items()})
