"""What the data plane reports: events, and when each host was last requested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class FrontEventKind(StrEnum):
    """What happened."""

    CONNECTED = "connected"
    """The data plane was (re)connected: the table must be sent again. The first event of each stream."""
    UNREACHABLE = "unreachable"
    """The endpoint of the host refused a connection."""
    HEALTH = "health"
    """The host became responsive or unresponsive."""
    WAKE = "wake"
    """A request to the host waits until its sleeping environment is awake. Repeated every second while one
    waits."""


@dataclass(frozen=True, slots=True)
class FrontEvent:
    """An event of the data plane. It carries no state: its receiver reads the current one.

    Args:
        kind: what happened.
        host: the host; empty for `CONNECTED`.
    """

    kind: FrontEventKind
    host: str = ""


@dataclass(frozen=True, slots=True)
class Activity:
    """When hosts were last requested by visitors.

    Args:
        idle: host to the seconds since its last request; 0 while one is open or waits. Hosts without a
            request since `uptime` are missing.
        uptime: the seconds that this covers. A data plane that replaces another one takes over its record;
            after a crash it starts at 0.
    """

    idle: Mapping[str, float] = field(default_factory=dict)
    uptime: float = 0.0

    def idle_of(self, hosts: Iterable[str]) -> float:
        """The seconds since the last request to any of these hosts; `uptime` if there was none."""
        return min((self.idle.get(host, self.uptime) for host in hosts), default=self.uptime)
