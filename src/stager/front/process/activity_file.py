"""The record of the last and the held requests, as a front passes it on to its successor.

Both run on the same machine, so they have the same monotonic clock.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from stager.front.proxy.context import Context

_NAME = "activity.json"


def save(folder: Path, context: Context) -> None:
    """Write the record, for a successor that is waiting for it. On a full disk it gets none."""
    record = {
        "since": context.observed_since,
        "requested_at": context.requested_at,
        "held": context.held.hosts,
    }
    with suppress(OSError):
        (folder / _NAME).write_text(json.dumps(record))


def load(folder: Path, context: Context) -> None:
    """Add the predecessor's record to this front's own, and remove the file."""
    try:
        record = json.loads((folder / _NAME).read_text())
        context.observed_since = min(context.observed_since, float(record["since"]))
        for host, at in record["requested_at"].items():
            context.requested_at[host] = max(float(at), context.requested_at.get(host, 0.0))
        context.held.inherited = frozenset(map(str, record["held"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Without a record, every host counts as requested at the start of this front.
        return
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a record that a crashed front has left."""
    with suppress(OSError):
        (folder / _NAME).unlink(missing_ok=True)
