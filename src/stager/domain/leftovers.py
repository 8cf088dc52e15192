"""What garbage collection removes: what exists on the machine and nothing needs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LeftoverKind(StrEnum):
    """What it is."""

    CONTAINER = "container"
    NETWORK = "network"
    VOLUME = "volume"
    IMAGE = "image"
    BUILD_CACHE = "build-cache"


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that garbage collection removes.

    Args:
        name: the engine's name or id.
        why: why nothing needs it, as a sentence without its subject and full stop.
        environment: the id of the environment that it belonged to; empty for none.
        size: bytes that its removal frees; None if that is unknown.
    """

    kind: LeftoverKind
    name: str
    why: str
    environment: str = ""
    size: int | None = None

    @property
    def key(self) -> tuple[LeftoverKind, str]:
        """Identifies it."""
        return self.kind, self.name
