"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Who a command comes from.

    Args:
        name: a user's name, or the forge's login.
        by: how we know: the authentication strategy's name, `webhook`, or `resync`.
    """

    name: str
    by: str

    def __str__(self) -> str:
        return f"{self.name} ({self.by})"
