"""Forges under test: GitHub as an account and an App see it, which is a GitHub of our own; the one in memory.

`conftest` hands them to the contract suites, one file of tests for each port.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import aiohttp

from stager.control.environments.desired_state import link_of
from stager.domain.environment import ChangeLink
from stager.domain.pull_requests.events import ChangeEvent
from stager.domain.source import Access, Change, Repository
from stager.forges.github.account import GithubServer, with_app, with_token
from stager.forges.github.api.announcements import DEPLOYMENT_STATES
from stager.forges.github.api.responses import AppCredentials
from stager.ports import forge as ports
from stager.ports.forge import (
    Announcements,
    Changes,
    Checks,
    Origins,
    People,
    Progress,
    Redelivery,
    Reports,
)
from stager.testing import FakeForge, FaultMode
from tests.doubles.github import GithubDouble, GithubPull

A, B = "a" * 40, "b" * 40

Shown = Literal["queued", "in_progress", "success", "failure", "inactive", "pending"]
"""How deployments and statuses stand, as people see it. Not every forge tells waiting from being queued."""


@dataclass(frozen=True, slots=True)
class ShownDeployment:
    environment: str
    sha: str
    state: str
    url: str


class Forge(Protocol):
    """A forge under test. `at` is a change, by its number in the one repository.

    Attributes:
        page: how the URL of the first change ends.
        has_places: whether there are places for comments, deployments, statuses and reactions.
    """

    changes: Changes
    reports: Reports
    origins: Origins
    people: People
    announcements: Announcements
    redelivery: Redelivery
    repository: Repository
    page: str
    has_places: bool

    def sha(self, sha: str) -> str:
        """The id that the forge has for a test's commit."""

    def open(self, ref: str, sha: str, *, fork: bool = False) -> int: ...
    def push(self, at: int, sha: str) -> None: ...
    def close(self, at: int, *, merged: bool = False) -> None: ...
    def reopen(self, at: int) -> None: ...
    def edit(self, at: int, *, labels: Sequence[str], draft: bool, description: str) -> None: ...
    def delete_head(self, at: int) -> None: ...
    def comments(self, at: int) -> list[str]: ...
    def add_comment(self, at: int, body: str) -> str:
        """A comment of another user; its id."""

    def delete_comments(self, at: int) -> None: ...
    def reactions(self, at: int, comment: str) -> Sequence[str]:
        """Ours, at this comment."""

    def allow(self, login: str, access: Access) -> None: ...
    def touch(self, at: int, *paths: str) -> None: ...
    def check(self, sha: str, outcome: Checks, context: str = "ci") -> None: ...
    def deployments(self) -> list[ShownDeployment]:
        """All of them, oldest first."""

    def delete_deployments(self) -> None: ...
    def statuses(self, sha: str) -> list[tuple[str, Shown, str]]:
        """Context, state and link of the commit's statuses, oldest first."""

    def fail(self) -> None:
        """Fail from now on."""

    def break_off_lists(self) -> None:
        """Give only a part of every list from now on."""

    def refuse_to_write(self) -> None: ...


class FakeForgeUnderTest:
    def __init__(self) -> None:
        self._forge = FakeForge()
        self.changes: Changes = self._forge
        self.reports: Reports = self._forge
        self.origins: Origins = self._forge
        self.people: People = self._forge
        self.announcements: Announcements = self._forge
        self.redelivery: Redelivery = self._forge
        self.repository = self._forge.add_repository("acme", "shop")
        self.page, self.has_places = "/acme/shop/pull/1", True
        self._fork = self._forge.add_repository("mallory", "shop")
        self._events: dict[int, ChangeEvent] = {}

    def sha(self, sha: str) -> str:
        return sha

    def open(self, ref: str, sha: str, *, fork: bool = False) -> int:
        event = self._forge.open(self.repository, ref, sha, fork=self._fork if fork else None)
        self._events[event.change.number] = event
        return event.change.number

    def push(self, at: int, sha: str) -> None:
        self._forge.push(self._events[at], sha)

    def close(self, at: int, *, merged: bool = False) -> None:
        self._forge.close(self._events[at], merged=merged)

    def reopen(self, at: int) -> None:
        self._forge.reopen(self._events[at])

    def edit(self, at: int, *, labels: Sequence[str], draft: bool, description: str) -> None:
        self._forge.edit(self._events[at], labels=tuple(labels), draft=draft, description=description)

    def delete_head(self, at: int) -> None:
        self._forge.delete_head(self._events[at])

    def comments(self, at: int) -> list[str]:
        return [c.body for c in self._forge.comments if c.number == at]

    def add_comment(self, at: int, body: str) -> str:
        return self._forge.add_comment(self._events[at], body).id

    def delete_comments(self, at: int) -> None:
        self._forge.comments = [c for c in self._forge.comments if c.number != at]

    def reactions(self, at: int, comment: str) -> Sequence[str]:
        [found] = [c for c in self._forge.comments if (c.number, c.id) == (at, comment)]
        return found.reactions

    def allow(self, login: str, access: Access) -> None:
        self._forge.allow(self.repository, login, access)

    def touch(self, at: int, *paths: str) -> None:
        self._forge.touch(self._events[at], *paths)

    def check(self, sha: str, outcome: Checks, context: str = "ci") -> None:
        self._forge.check(self.repository, sha, outcome, context=context)

    def deployments(self) -> list[ShownDeployment]:
        return [
            ShownDeployment(d.environment, d.sha, DEPLOYMENT_STATES[d.progress], d.statuses[-1].url)
            for d in self._forge.deployments
        ]

    def delete_deployments(self) -> None:
        self._forge.deployments.clear()

    def statuses(self, sha: str) -> list[tuple[str, Shown, str]]:
        said = [(s.context, s.announcement) for s in self._forge.statuses if s.sha == sha]
        return [(context, _shown(a.progress), a.url or a.log_url) for context, a in said]

    def fail(self) -> None:
        self._forge.fault_mode = FaultMode.FAILING

    def break_off_lists(self) -> None:
        self._forge.fault_mode = FaultMode.PARTIAL

    def refuse_to_write(self) -> None:
        self._forge.fault_mode = FaultMode.REFUSING


def _shown(progress: Progress) -> Shown:
    ends: dict[Progress, Shown] = {Progress.SUCCESS: "success", Progress.FAILURE: "failure"}
    return ends.get(progress, "pending")


class GithubUnderTest:
    def __init__(self, double: GithubDouble, github: ports.Forge) -> None:
        self._double = double
        self._base = double.add_repository("acme", "shop")
        self._fork = double.add_repository("mallory", "shop")
        double.app.install("acme", "shop", "blog")
        self.changes: Changes = github.changes
        self.reports: Reports = github.reports
        self.origins: Origins = github.origins
        self.people: People = github.people
        self.announcements: Announcements = github.announcements
        self.redelivery: Redelivery = github.redelivery
        self.repository = Repository(f"github:{self._base.id}", "acme", "shop")
        self.page, self.has_places = "/acme/shop/pull/1", True
        self._pulls: dict[int, GithubPull] = {}

    def sha(self, sha: str) -> str:
        return sha

    def open(self, ref: str, sha: str, *, fork: bool = False) -> int:
        pull = self._double.open_pull(self._base, ref, sha=sha, fork=self._fork if fork else None)
        self._pulls[pull.number] = pull
        return pull.number

    def push(self, at: int, sha: str) -> None:
        self._double.push(self._pulls[at], sha)

    def close(self, at: int, *, merged: bool = False) -> None:
        self._double.close(self._pulls[at], merged=merged)

    def reopen(self, at: int) -> None:
        self._double.reopen(self._pulls[at])

    def edit(self, at: int, *, labels: Sequence[str], draft: bool, description: str) -> None:
        self._double.edit(self._pulls[at], labels=labels, draft=draft, body=description)

    def delete_head(self, at: int) -> None:
        self._pulls[at].head = None

    def comments(self, at: int) -> list[str]:
        return [comment.body for comment in self._pulls[at].comments]

    def add_comment(self, at: int, body: str) -> str:
        return str(self._double.add_comment(self._pulls[at], body).id)

    def delete_comments(self, at: int) -> None:
        self._pulls[at].comments.clear()

    def reactions(self, at: int, comment: str) -> Sequence[str]:
        [found] = [c for c in self._pulls[at].comments if str(c.id) == comment]
        return found.reactions

    def allow(self, login: str, access: Access) -> None:
        self._base.state.people[login.lower()] = (access.value, access.value)

    def touch(self, at: int, *paths: str) -> None:
        self._pulls[at].files = [{"filename": path} for path in paths]

    def check(self, sha: str, outcome: Checks, context: str = "ci") -> None:
        """As a status; as a check if the context begins with this word."""
        if not context.startswith("check"):
            states = self._base.state.statuses.setdefault(sha, [])
            states.append({"context": context, "state": outcome})
            return
        ended = outcome != "pending"
        run = {"name": context, "status": "completed" if ended else "in_progress"}
        runs = self._base.state.check_runs.setdefault(sha, [])
        runs[:] = [other for other in runs if other["name"] != context]
        runs.append(run | {"conclusion": outcome if ended else None})

    def deployments(self) -> list[ShownDeployment]:
        return [
            ShownDeployment(d.environment, d.sha, d.state, d.statuses[-1].get("environment_url", ""))
            for d in self._base.state.deployments
        ]

    def delete_deployments(self) -> None:
        self._base.state.deployments.clear()

    def statuses(self, sha: str) -> list[tuple[str, Shown, str]]:
        said = self._base.state.statuses.get(sha, [])
        return [(s["context"], s["state"], s.get("target_url", "")) for s in said]

    def fail(self) -> None:
        for method in ("GET", "POST", "PATCH"):
            self._double.fail(method, "", times=10**6, status=502)

    def break_off_lists(self) -> None:
        self._double.fail("GET", "/(pulls|files|status|check-runs)$", times=10**6, truncate=True)

    def refuse_to_write(self) -> None:
        for method in ("POST", "PATCH"):
            self._double.fail(method, "/(comments|reactions|deployments|statuses)", times=10**6, status=403)


@asynccontextmanager
async def github(*, as_app: bool) -> AsyncIterator[Forge]:
    async with GithubDouble() as double, aiohttp.ClientSession() as session:
        server = GithubServer(double.api_url, double.web_url, timeout=5.0, pause=0.001)
        if as_app:
            opened = with_app(session, server, AppCredentials(double.app.id, double.app.pem))
        else:
            opened = with_token(session, server, "stager-bot", "token")
        yield GithubUnderTest(double, opened)


async def the(forge: Forge, at: int) -> Change:
    change = await forge.changes.change(forge.repository, at)
    assert change is not None
    return change


async def link(forge: Forge, at: int) -> ChangeLink:
    return link_of(await the(forge, at))
