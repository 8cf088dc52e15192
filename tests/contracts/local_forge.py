"""The local forge under test: real git, and a bare repository in which a test moves branches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from stager.domain.source import Access, Repository
from stager.forges.local.forge import LocalForge
from stager.forges.local.repository import LocalRepository
from stager.ports.forge import Announcements, Changes, Checks, Origins, People, Redelivery, Reports
from tests.contracts.forges import Shown, ShownDeployment
from tests.doubles.git import BareRepository

SERVER, HOME = "http://127.0.0.1:9", "http://stager.test"
BASE, README = "refs/heads/main", {"README": "Hi"}


class LocalForgeUnderTest:
    """Commits have the ids that git gives them: `sha` returns the one for a test's own."""

    def __init__(self, bare: BareRepository, forge: LocalForge) -> None:
        self._bare = bare
        self._branches: dict[int, str] = {}
        self._commits: dict[str, str] = {}
        self.changes: Changes = forge
        self.reports: Reports = forge
        self.origins: Origins = forge
        self.people: People = forge
        self.announcements: Announcements = forge
        self.redelivery: Redelivery = forge
        self.repository = Repository("local:shop", "local", "shop")
        self.page = HOME
        self.has_places = False

    def sha(self, sha: str) -> str:
        if sha not in self._commits:
            self._commits[sha] = self._commit(README, sha)
        return self._commits[sha]

    def _commit(self, files: Mapping[str, str], why: str) -> str:
        return self._bare.commit(files, BASE, message=f"A change\n\n{why}", by="octocat", moves=False)

    def touch(self, at: int, *paths: str) -> None:
        self._move(at, self._commit({**README, **dict.fromkeys(paths, "touched")}, "touch"))

    def open(self, ref: str, sha: str, *, fork: bool = False) -> int:
        if fork:
            _no("forks")
        number = len(self._branches) + 1
        self._branches[number] = ref
        self.push(number, sha)
        return number

    def push(self, at: int, sha: str) -> None:
        self._move(at, self.sha(sha))

    def _move(self, at: int, sha: str) -> None:
        """What a push does, and its hook."""
        self._bare.git("update-ref", f"refs/heads/{self._branches[at]}", sha)
        self._noticed()

    def _noticed(self) -> None:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, LocalRepository(self._bare.path).changes()).result()

    def close(self, at: int, *, merged: bool = False) -> None:
        branch = f"refs/heads/{self._branches[at]}"
        if merged:
            self._bare.git("update-ref", "refs/heads/main", branch)
        self._head = self._bare.git("rev-parse", branch)
        self._bare.git("update-ref", "-d", branch)
        self._noticed()

    def reopen(self, at: int) -> None:
        self._move(at, self._head)

    def delete_head(self, at: int) -> None:
        _no("forks")

    def edit(self, at: int, *, labels: Sequence[str], draft: bool, description: str) -> None:
        _no("labels, drafts and descriptions")

    def comments(self, at: int) -> list[str]:
        _no("comments")

    def add_comment(self, at: int, body: str) -> str:
        _no("comments")

    def delete_comments(self, at: int) -> None:
        _no("comments")

    def reactions(self, at: int, comment: str) -> Sequence[str]:
        _no("reactions")

    def allow(self, login: str, access: Access) -> None:
        _no("accounts")

    def check(self, sha: str, outcome: Checks, context: str = "ci") -> None:
        _no("checks")

    def deployments(self) -> list[ShownDeployment]:
        _no("deployments")

    def delete_deployments(self) -> None:
        _no("deployments")

    def statuses(self, sha: str) -> list[tuple[str, Shown, str]]:
        _no("statuses")

    def fail(self) -> None:
        self._bare.path.rename(self._bare.path.with_suffix(".away"))

    def break_off_lists(self) -> None:
        (self._bare.path / "refs" / "heads" / "broken").write_text("b" * 40 + "\n")

    def refuse_to_write(self) -> None:
        _no("places to write to")


def _no(what: str) -> NoReturn:
    pytest.skip(f"the local forge has no {what}")


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[LocalForgeUnderTest]:
    bare = BareRepository(folder / "shop.git")
    bare.commit(README, BASE)
    forge = LocalForge({"shop": bare.path}, lambda: HOME)
    await forge.open(SERVER)
    yield LocalForgeUnderTest(bare, forge)
