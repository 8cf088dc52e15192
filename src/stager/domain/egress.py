"""Where a preview may connect to, beyond its own network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reach = Literal["private", "internet", "none"]
"""`private`: also networks that aren't the internet's, where companies have their databases; `internet`: not
these; `none`: nowhere. Code from forks never gets further than the internet."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One port of one host, which an administrator opened.

    Args:
        host: an address, or a name that is looked up.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Egress:
    """What an application's previews may connect to."""

    reach: Reach = "private"
    allow: tuple[Destination, ...] = ()
