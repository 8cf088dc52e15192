"""Forges under test: GitHub's client before a GitHub of our own, and the forge in memory.

`conftest` hands them to the contract suites, one file of tests for each port.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp

from stager.control.wishes import link_of
from stager.domain.environment import ChangeLink
from stager.domain.events import ChangeSeen
from stager.domain.source import Change, Repository
from stager.forges.github.client import GithubClient
from stager.ports.forge import Changes, Reports
from stager.testing import FakeForge, Mood
from tests.doubles.github import GithubDouble, GithubPull, GithubRepository

A, B = "a" * 40, "b" * 40


class Forge(Protocol):
    """A forge under test. `at` is a change, by its number in the one repository `acme/shop`."""

    changes: Changes
    reports: Reports
    repository: Repository

    def open(self, ref: str, sha: str, *, fork: bool = False) -> int: ...
    def push(self, at: int, sha: str) -> None: ...
    def close(self, at: int, *, merged: bool = False) -> None: ...
    def reopen(self, at: int) -> None: ...
    def delete_head(self, at: int) -> None: ...
    def comments(self, at: int) -> list[str]: ...
    def add_comment(self, at: int, body: str) -> None: ...
    def delete_comments(self, at: int) -> None: ...
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
        self.repository = self._forge.add_repository("acme", "shop")
        self._fork = self._forge.add_repository("mallory", "shop")
        self._events: dict[int, ChangeSeen] = {}

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

    def delete_head(self, at: int) -> None:
        self._forge.delete_head(self._events[at])

    def comments(self, at: int) -> list[str]:
        return [c.body for c in self._forge.comments if c.number == at]

    def add_comment(self, at: int, body: str) -> None:
        self._forge.add_comment(self._events[at], body)

    def delete_comments(self, at: int) -> None:
        self._forge.comments = [c for c in self._forge.comments if c.number != at]

    def fail(self) -> None:
        self._forge.mood = Mood.FAILING

    def break_off_lists(self) -> None:
        self._forge.mood = Mood.PARTIAL

    def refuse_to_write(self) -> None:
        self._forge.mood = Mood.REFUSING


class GithubUnderTest:
    def __init__(self, double: GithubDouble, client: GithubClient) -> None:
        self._double = double
        self._base: GithubRepository = double.add_repository("acme", "shop")
        self._fork = double.add_repository("mallory", "shop")
        self.changes: Changes = client
        self.reports: Reports = client
        self.repository = Repository(str(self._base.id), "acme", "shop")
        self._pulls: dict[int, GithubPull] = {}

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

    def delete_head(self, at: int) -> None:
        self._pulls[at].head = None

    def comments(self, at: int) -> list[str]:
        return [comment.body for comment in self._pulls[at].comments]

    def add_comment(self, at: int, body: str) -> None:
        self._double.add_comment(self._pulls[at], body)

    def delete_comments(self, at: int) -> None:
        self._pulls[at].comments.clear()

    def fail(self) -> None:
        self._double.trouble("GET", "", times=10**6, status=502)
        self._double.trouble("POST", "", times=10**6, status=502)
        self._double.trouble("PATCH", "", times=10**6, status=502)

    def break_off_lists(self) -> None:
        self._double.trouble("GET", "/pulls$", times=10**6, truncate=True)

    def refuse_to_write(self) -> None:
        for method in ("POST", "PATCH"):
            self._double.trouble(method, "/comments", times=10**6, status=403)


@asynccontextmanager
async def github() -> AsyncIterator[Forge]:
    async with GithubDouble() as double, aiohttp.ClientSession() as session:
        client = GithubClient(
            session, double.api_url, "stager-bot", "token", double.web_url, timeout=5.0, pause=0.001
        )
        yield GithubUnderTest(double, client)


async def the(forge: Forge, at: int) -> Change:
    change = await forge.changes.change(forge.repository, at)
    assert change is not None
    return change


async def link(forge: Forge, at: int) -> ChangeLink:
    return link_of(await the(forge, at))
