"""Lifetimes that options take, such as `90d`, and ages that tables show."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from stager.cli.client.api.errors import ClientError, Code

SECONDS = {"m": 60, "h": 3_600, "d": 86_400}


def seconds(option: str, text: str) -> int:
    """Parse a lifetime to seconds: `30m`, `12h` or `90d`.

    Args:
        option: the option that it is the value of, for errors.

    Raises:
        ClientError: it isn't one.
    """
    found = re.fullmatch(r"(\d{1,4})([mhd])", text, re.ASCII)
    if found is None:
        raise ClientError(f'{option} must be a duration such as 12h or 90d, not "{text}".', code=Code.USAGE)
    return int(found[1]) * SECONDS[found[2]]


def age(since: object, now: datetime | None = None) -> str:
    """Format the time since an instant of the API with its largest unit: `45s`, `12m`, `5h`, `3d`."""
    try:
        elapsed = (now or datetime.now(UTC)) - datetime.fromisoformat(str(since))
    except (ValueError, TypeError):
        return ""
    passed = max(0, int(elapsed.total_seconds()))
    unit = next((u for u in "dhm" if passed >= SECONDS[u]), "")
    return f"{passed // SECONDS[unit]}{unit}" if unit else f"{passed}s"
