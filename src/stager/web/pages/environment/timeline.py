"""The timeline of a preview's deployments: their steps, how long each took, and the bars that show it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from stager.domain.deployment import Phase
from stager.web.api.views import DeploymentView

TONES = {Phase.LIVE: "good", Phase.FAILED: "bad", Phase.SUPERSEDED: "calm", Phase.ENDED: "calm"}
WIDTH = 100.0
"""Units of a bar: the longest deployment of the page."""
NARROWEST = 0.5
"""Units, so that a step that took milliseconds is seen."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a deployment, and its place in the bar."""

    name: str
    seconds: float
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A deployment on the timeline."""

    deployment: DeploymentView
    steps: Sequence[Step]
    seconds: float
    tone: str


def timeline_of(deployments: Sequence[DeploymentView]) -> list[Entry]:
    """Return the timeline. The bars of all deployments have the same scale."""
    spans = [list(_spans(deployment)) for deployment in deployments]
    longest = max((_sum(each) for each in spans), default=0.0) or 1.0
    return [
        Entry(deployment, list(_steps(each, longest)), _sum(each), _tone(deployment.phase))
        for deployment, each in zip(deployments, spans, strict=True)
    ]


def _sum(spans: Sequence[tuple[str, float]]) -> float:
    return sum(seconds for _, seconds in spans)


def _tone(phase: Phase) -> str:
    return TONES.get(phase, "wait")


def _steps(spans: Sequence[tuple[str, float]], longest: float) -> Iterator[Step]:
    x = 0.0
    for name, seconds in spans:
        width = max(NARROWEST, WIDTH * seconds / longest)
        yield Step(name, seconds, round(x, 2), round(width, 2))
        x += width


def _spans(deployment: DeploymentView) -> Iterator[tuple[str, float]]:
    """Yield the completed steps of a deployment with their durations in seconds."""
    stamps: list[tuple[str, datetime | None]] = [
        ("queued", deployment.created_at),
        ("built", deployment.building_at),
        ("started", deployment.starting_at),
        ("checked and published", deployment.checking_at),
        ("", deployment.live_at),
    ]
    reached = [(name, at) for name, at in stamps if at is not None]
    for (name, begin), (_, end) in pairwise(reached):
        yield name, max(0.0, (end - begin).total_seconds())
