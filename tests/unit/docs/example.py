"""The environment of the samples in the documentation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stager.domain.attempt import Attempt
from stager.domain.deployment import Deployment
from stager.domain.environment import ChangeLink, Desired, Environment, EnvironmentKey, RunState
from stager.domain.source import Revision

LIVE_SINCE = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
REVISION = Revision("36a93f3999bb40f1dd5a3e71b0c289f42a65e926", "warm-welcome")


def a_change() -> ChangeLink:
    """The pull request of the samples."""
    return ChangeLink(
        repository_id="github:1",
        owner="your-account",
        repository="stager-demo",
        number=7,
        base_ref="main",
        title="A warm welcome",
        author="octocat",
        url="https://github.com/your-account/stager-demo/pull/7",
    )


def an_environment(change: ChangeLink | None) -> Environment:
    """Its environment, live; without a change, one that was launched manually."""
    return Environment(
        id="dwhfetsycbfe",
        key=EnvironmentKey("stager-demo", "change:github:1/7"),
        name="warm-welcome",
        host="warm-welcome.demo.example.org",
        desired=Desired(RunState.RUNNING, 1, REVISION if change else Revision()),
        created_at=LIVE_SINCE,
        updated_at=LIVE_SINCE,
        change=change,
        serving=1,
    )


def a_live_deployment() -> Deployment:
    """Its deployment, which took 1.1 seconds."""
    return Deployment(
        "gjmzy7yif5sp",
        "dwhfetsycbfe",
        REVISION,
        Attempt(1),
        LIVE_SINCE,
        starting_at=LIVE_SINCE,
        live_at=LIVE_SINCE + timedelta(seconds=1.1),
    )
