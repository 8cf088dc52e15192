"""How an instance is confined: profiles, limits, and where it may connect to. `Trust` says whose code it
runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from stager.domain.source import Trust

DROPPED_CAPABILITIES = ("NET_RAW", "MKNOD", "AUDIT_WRITE")
"""Of the capabilities that Docker grants by default, those that no web application needs."""
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


class ProfileName(StrEnum):
    """The profiles. Recorded as a label on each container and in the name of its bridge."""

    STANDARD = "standard"
    """May reach private networks, as far as the application's `egress` allows it."""
    RESTRICTED = "restricted"
    """Never reaches private networks."""


WIDEST_REACH: Mapping[ProfileName, Reach] = {
    ProfileName.STANDARD: "private",
    ProfileName.RESTRICTED: "internet",
}
"""What an instance of each profile may reach at most, besides the destinations of `egress_allow`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of one instance.

    Args:
        memory: bytes.
        cpus: cores, such as 1.5.
        pids: processes and threads.
        log_size: bytes of output that the engine keeps.
    """

    memory: int
    cpus: float
    pids: int
    log_size: int


@dataclass(frozen=True, slots=True)
class Profile:
    """How an instance is confined. Engines and firewalls act on this and never on `Trust`.

    Args:
        egress: what it may connect to.
        runtime: the OCI runtime; empty for the engine's default.
        dropped_capabilities: Linux capabilities removed from the engine's default set.
    """

    name: ProfileName
    limits: Limits
    egress: Egress
    runtime: str = ""
    dropped_capabilities: tuple[str, ...] = DROPPED_CAPABILITIES


def profile_name(trust: Trust) -> ProfileName:
    """Choose the profile for code of this trust."""
    return ProfileName.STANDARD if trust is Trust.TRUSTED else ProfileName.RESTRICTED


def profile_of(name: ProfileName, limits: Limits, egress: Egress) -> Profile:
    """Combine a profile with an application's settings: the profile's reach bounds that of the settings."""
    if egress.reach == "private" and WIDEST_REACH[name] == "internet":
        egress = replace(egress, reach="internet")
    return Profile(name, limits, egress)
