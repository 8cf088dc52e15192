"""How much the front takes from strangers, and how long it waits for anybody."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, fields
from typing import Any


def _limit(default: float, words: str) -> Any:
    return field(default=default, metadata={"help": words})


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit is an option of the command line too: `head_seconds` is `--head-seconds`."""

    head_seconds: float = _limit(15.0, "how long a client may take to send the head of a request")
    body_seconds: float = _limit(
        60.0, "how long a client may stall while it sends a body or takes a response"
    )
    idle_seconds: float = _limit(75.0, "how long a client connection is kept without a request")
    connect_seconds: float = _limit(5.0, "how long connecting to an app may take")
    response_seconds: float = _limit(
        60.0, "how long an app may take to begin its answer, once it has the request"
    )
    upstream_seconds: float = _limit(3600.0, "how long an app may be silent within an answer")
    upstream_idle_seconds: float = _limit(30.0, "how long an unused connection to an app is kept")
    drain_seconds: float = _limit(10.0, "how long open requests may go on once the front is told to stop")
    connections: int = _limit(10_000, "how many client connections may be open")
    connections_per_client: int = _limit(1024, "how many of them from one address")
    head_bytes: int = _limit(65_536, "how long the head of a request or response may be")
    line_bytes: int = _limit(16_384, "how long the request line may be")
    headers: int = _limit(200, "how many headers a request or response may have")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` one option for every limit."""
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
    """The limits that the command line named."""
    return Limits(**{limit.name: getattr(arguments, limit.name) for limit in fields(Limits)})


def to_arguments(limits: Limits) -> list[str]:
    """The command line that names these limits: only what differs from the defaults."""
    changed = [limit for limit in fields(Limits) if getattr(limits, limit.name) != limit.default]
    return [f"{_option(limit.name)}={getattr(limits, limit.name)}" for limit in changed]


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
