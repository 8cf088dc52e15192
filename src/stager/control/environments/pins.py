"""Previews that people want spared when room is made for others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from stager.ports.store import StateKind, Transaction


@dataclass(frozen=True, slots=True)
class Pin:
    """What somebody asked for.

    Args:
        pinned: it never makes room.
        extended_at: it counts as started at this time; None for when it was.
    """

    pinned: bool = False
    extended_at: datetime | None = None


def kept_of(tx: Transaction, environment_id: str) -> Pin:
    """What is remembered of this environment."""
    text = tx.environment_state(environment_id, StateKind.PIN)
    if not text:
        return Pin()
    data = json.loads(text)
    stamp = data["extended_at"]
    return Pin(pinned=data["pinned"], extended_at=datetime.fromisoformat(stamp) if stamp else None)


def save_kept(tx: Transaction, environment_id: str, kept: Pin) -> None:
    """Remember it, until the next time."""
    stamp = kept.extended_at.isoformat() if kept.extended_at else ""
    text = json.dumps({"pinned": kept.pinned, "extended_at": stamp})
    tx.save_environment_state(environment_id, StateKind.PIN, text)
