"""Fetches commits from git repositories through local mirrors."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Origin:
    """The address and credentials of a git repository.

    Args:
        url: without credentials; `https://...`, or the path of a bare repository on this machine.
        refs: refs to fetch where the server doesn't serve a commit by its id, such as `refs/pull/7/head`.
        authorization: the value of an `Authorization` header; empty for none. It is never part of a URL, a
            process argument, a file or a log.
        untrusted: whether the commits are untrusted. The authorization then isn't used for submodules, whose
            URLs are in the commits.
    """

    url: str
    refs: tuple[str, ...] = ()
    authorization: str = field(default="", repr=False)
    untrusted: bool = False


class Sources(Protocol):
    """Commits on this machine. `key` identifies a repository: its id, which never changes.

    Every method raises:
        Fault: `commit-missing`, `ref-missing`, `commit-not-a-tip`: there is none;
            `source-too-large`, `source-too-slow`: a limit is exceeded;
            `source-refused`: the credentials are rejected; `repository-missing`: there is none, or the
            credentials may not see it; `submodule-refused`: a submodule is on another host; `lfs-missing`,
            `git-missing`: a program isn't installed; `source-disk-full`; `source-failed`: another error of
            git, which is in the detail. Retry: `source-away`: the repository's host doesn't answer.
    """

    async def resolve(self, origin: Origin, name: str) -> str:
        """The commit's id (40 or 64 hex digits) that a branch or a tag points to now.

        Other refs don't count: forges keep untrusted commits in the same repository, such as in
        `refs/pull/7/head`.

        Args:
            name: of a branch or a tag, short or full (`refs/heads/...`, `refs/tags/...`); a branch takes
                precedence over a tag. A whole commit id is accepted if a branch or a tag points to it.
        """

    def checkout(self, key: str, origin: Origin, sha: str) -> AbstractAsyncContextManager[Path]:
        """A folder with the files of this commit, its submodules and LFS, without `.git`. It is removed at
        the end of the context."""

    async def read(self, key: str, origin: Origin, sha: str, path: str) -> bytes | None:
        """A file of a commit, at most one megabyte; None when there is none.

        Raises:
            Fault: `not-a-plain-file`: it is a symbolic link, which isn't followed, or a folder.
        """

    async def sweep(self, keys: Iterable[str]) -> int:
        """Remove the mirrors of all other repositories, and leftovers of killed processes. Returns the number
        of removed folders."""
