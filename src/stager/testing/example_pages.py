"""A page for each state in which visitors can find a preview, for tests and pictures.

The domain makes them, from environments and deployments as they are stored.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from stager.domain.attempt import Attempt
from stager.domain.deployment import DeployedService, Deployment
from stager.domain.environment import (
    ChangeLink,
    Desired,
    Environment,
    EnvironmentKey,
    RunState,
    Suspension,
    SuspensionReason,
)
from stager.domain.errors import Fault, Outcome
from stager.domain.life import expiry_of
from stager.domain.recipe import Manifest
from stager.domain.route import Page
from stager.domain.service import ServiceSpec
from stager.domain.source import Revision
from stager.domain.status import Status, page_of, status_of

_SHA = "9c1e0d7f2b64a35180efc1d2a7b3940586e7d1f3"
_FORGE = "https://github.com/acme/shop/pull/7"
_HOME = "https://stager.example.org/previews/dwhfetsycbfe"
_BUILD_LOG = (
    "Fetching commit 9c1e0d7f2b64a35180efc1d2a7b3940586e7d1f3",
    "#5 [1/6] FROM stager-base/node:1",
    "#6 [2/6] WORKDIR /app",
    "#7 [3/6] COPY package.json package-lock.json ./",
    "#8 [4/6] RUN npm ci",
    "#8 6.402 added 214 packages, and audited 215 packages in 6s",
    "#8 DONE 6.9s",
    "#9 [5/6] COPY . .",
    "#10 [6/6] RUN npm run build",
    "#10 0.731 > shop@4.2.0 build",
    "#10 0.731 > tsc && vite build",
    "#10 3.118 vite v6.0.3 building for production...",
    "#10 4.027 transforming...",
)
_BUILD_ERROR = [
    *_BUILD_LOG[7:11],
    "#10 3.904 src/cart.ts(41,7): error TS2322: Type 'string' is not assignable to type 'number'.",
    '#10 ERROR: process "/bin/sh -c npm run build" did not complete successfully: exit code: 2',
]
_APPLICATION_LOG = [
    "listening on 0.0.0.0:3000",
    "GET / 500 12 ms",
    'psycopg.errors.UndefinedTable: relation "orders" does not exist',
]
_FINDINGS = ("Without effect:", "  compose.yaml:9: `tty` of a service has no effect.")


def example_pages(now: datetime) -> dict[str, Page]:
    """Return the pages by a name; that of the state, where there is one page of it."""
    return {
        **_in_progress(now),
        **_failed(now),
        "approval": _suspended(
            now,
            SuspensionReason.APPROVAL,
            "No preview yet: this pull request comes from a fork, and its newest commit isn't approved.",
            f"After reading the commit, someone with push access can comment `/stager approve {_SHA}`.",
        ),
        "checks": _suspended(
            now,
            SuspensionReason.CHECKS,
            "No preview yet: the checks of its commit haven't passed.",
            "The preview starts once they have passed.",
        ),
        "refused": _suspended(
            now, SuspensionReason.RULES, "No preview: drafts get none.", "Mark the pull request as ready."
        ),
        "stopped": _suspended(
            now,
            SuspensionReason.KILLED,
            "This preview was stopped manually.",
            "It comes back with the next push, when the pull request is reopened, or when it is launched.",
        ),
        "queued-for-room": _suspended(
            now,
            SuspensionReason.QUEUED,
            "The limit of 3 running previews of octocat is reached.",
            "It starts by itself as soon as there is room.",
            place=2,
        ),
        "expired": _page(
            _environment(now, _running().suspended(expiry_of(_environment(now), timedelta(days=14))))
        ),
        "asleep": _page(_environment(now, _running().asleep())),
        "waking": _page(replace(_environment(now), asleep_runs=frozenset({"i@1"}))),
        "gone": _page(_environment(now, _running().absent())),
    }


def _in_progress(now: datetime) -> dict[str, Page]:
    environment, building = _environment(now), _deployment(now, building_at=now)
    status = status_of(environment, building)
    queued = replace(status, message="The build is queued; 2 builds are before it.", place=3)
    services = tuple(DeployedService(ServiceSpec(name), "", is_main=name == "web") for name in _SERVICES)
    starting = replace(building, starting_at=now, services=services)
    return {
        "queued": _page(environment, queued, building),
        "building": _page(environment, replace(status, lines=_BUILD_LOG), building),
        "starting": _page(environment, deployment=starting),
        "checking": _page(environment, deployment=replace(building, starting_at=now, checking_at=now)),
    }


_SERVICES = ("web", "database", "search")


def _failed(now: datetime) -> dict[str, Page]:
    environment = _environment(now)
    build = Fault(
        "The step `RUN npm run build` failed with exit code 2.",
        hint="Its last lines are below. `docker build .` in a checkout shows the same.",
        reason="build-failed",
        detail="\n".join(_BUILD_ERROR),
    )
    check = Fault(
        "The application answered with status 500 on port 3000 (GET /) for 60 s.",
        hint="Expected a status below 500. Set `health_path` in the repository's `.stager.yml` to a path that"
        " reports whether the application is ready.",
        reason="wrong-status",
        detail="\n".join(_APPLICATION_LOG),
    )
    at_build = _deployment(now, build, building_at=now)
    at_check = _deployment(now, check, building_at=now, starting_at=now, checking_at=now)
    return {
        "failed": _page(environment, deployment=at_build),
        "failed-checking": _page(
            environment, deployment=replace(at_check, manifest=Manifest(findings=_FINDINGS))
        ),
        "failed-launched": _page(replace(environment, change=None), deployment=at_build),
    }


def _running() -> Desired:
    return Desired(RunState.RUNNING, 1, Revision(_SHA, "summer-sale"))


def _environment(now: datetime, desired: Desired | None = None) -> Environment:
    link = ChangeLink("github:1", "acme", "shop", 7, "main", "Summer sale", "octocat", _FORGE)
    return Environment(
        id="dwhfetsycbfe",
        key=EnvironmentKey("shop", "change:github:1/7"),
        name="summer-sale",
        host="summer-sale.example.org",
        desired=desired or _running(),
        created_at=now,
        updated_at=now,
        change=link,
    )


def _deployment(now: datetime, failure: Fault | None = None, **reached: datetime) -> Deployment:
    outcome = Outcome.of(failure) if failure else None
    attempt = Attempt(1, failures=1 if failure else 0, outcome=outcome, final=failure is not None)
    began = now - timedelta(seconds=24)
    return replace(
        Deployment("k3v8qn2xw7ra", "dwhfetsycbfe", Revision(_SHA, "summer-sale"), attempt, began),
        **reached,  # type: ignore[arg-type]
    )


def _suspended(now: datetime, reason: SuspensionReason, message: str, hint: str, place: int = 0) -> Page:
    suspension = Suspension(reason, message, hint, place)
    return _page(_environment(now, _running().suspended(suspension)))


def _page(
    environment: Environment, status: Status | None = None, deployment: Deployment | None = None
) -> Page:
    return page_of(environment, status or status_of(environment, deployment), _HOME, deployment)
