"""Previews that are exempt from removal at the limit, or that were extended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from stager.ports.store import StateKind, Transaction


@dataclass(frozen=True, slots=True)
class Pin:
    """What was requested for one preview.

    Args:
        pinned: it is never removed at the limit.
        extended_at: treated as the time of its start; None: the real one counts.
    """

    pinned: bool = False
    extended_at: datetime | None = None


def pin_of(tx: Transaction, environment_id: str) -> Pin:
    """The stored pin of this environment."""
    return _read(tx.environment_state(environment_id, StateKind.PIN))


def pins(tx: Transaction) -> dict[str, Pin]:
    """The stored pins, by the id of the environment."""
    return {id_: _read(text) for id_, text in tx.environment_states(StateKind.PIN).items()}


def _read(text: str) -> Pin:
    if not text:
        return Pin()
    data = json.loads(text)
    stamp = data["extended_at"]
    return Pin(pinned=data["pinned"], extended_at=datetime.fromisoformat(stamp) if stamp else None)


def save_pin(tx: Transaction, environment_id: str, pin: Pin) -> None:
    """Store the pin; it replaces an earlier one."""
    stamp = pin.extended_at.isoformat() if pin.extended_at else ""
    text = json.dumps({"pinned": pin.pinned, "extended_at": stamp})
    tx.save_environment_state(environment_id, StateKind.PIN, text)
