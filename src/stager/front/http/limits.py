"""The limits and timeouts of the front."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, fields
from typing import Any


def _limit(default: float, help_: str) -> Any:
    return field(default=default, metadata={"help": help_})


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits and timeouts. Each is also a command-line option: `head_seconds` is `--head-seconds`."""

    head_seconds: float = _limit(15.0, "maximum time for a client to send the head of a request")
    body_seconds: float = _limit(
        60.0, "maximum time without progress while a client sends a body or reads a response"
    )
    idle_seconds: float = _limit(75.0, "maximum idle time of a client connection")
    connect_seconds: float = _limit(5.0, "timeout for connecting to an app")
    response_seconds: float = _limit(60.0, "maximum time for an app to begin its response")
    upstream_seconds: float = _limit(3600.0, "maximum time without data within a response")
    upstream_idle_seconds: float = _limit(30.0, "maximum idle time of a connection to an app")
    drain_seconds: float = _limit(10.0, "maximum time for open requests when the front stops")
    wake_seconds: float = _limit(60.0, "maximum time to hold a request until its sleeping host is awake")
    navigation_seconds: float = _limit(
        3.0,
        "maximum time to hold a browser's request for a page before it gets a page that says why it waits",
    )
    held_requests: int = _limit(2000, "maximum number of held requests")
    held_bytes: int = _limit(128 << 20, "maximum size of all held requests")
    connections: int = _limit(10_000, "maximum number of client connections")
    connections_per_client: int = _limit(1024, "maximum number of client connections from one address")
    head_bytes: int = _limit(65_536, "maximum size of the head of a request or response")
    line_bytes: int = _limit(16_384, "maximum size of the request line")
    headers: int = _limit(200, "maximum number of headers of a request or response")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one option per limit to `parser`."""
    group = parser.add_argument_group("limits")
    for limit in fields(Limits):
        kind = int if isinstance(limit.default, int) else float
        group.add_argument(
            _option(limit.name),
            type=kind,
            default=limit.default,
            metavar="N",
            help=f"{limit.metadata['help']} (default {limit.default:g})",
        )


def from_arguments(arguments: argparse.Namespace) -> Limits:
    """Return the limits of a parsed command line."""
    return Limits(**{limit.name: getattr(arguments, limit.name) for limit in fields(Limits)})


def to_arguments(limits: Limits) -> list[str]:
    """Return the command-line options of these limits, without those that are the default."""
    changed = [limit for limit in fields(Limits) if getattr(limits, limit.name) != limit.default]
    return [f"{_option(limit.name)}={getattr(limits, limit.name)}" for limit in changed]


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
