"""When previews were last requested, and put to sleep or woken."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from stager.ports.store import StateKind, Transaction


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
