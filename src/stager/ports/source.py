"""Where commits come from: git repositories, by way of mirrors of our own."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Origin:
    """How git reaches a repository.

    Args:
        url: without credentials; `https://...`, or the path of a bare repository on this machine.
        refs: what to fetch where the server doesn't hand out a commit by its id, such as `refs/pull/7/head`.
        authorization: the value of an `Authorization` header; empty for none. It never gets into a URL, an
            argument of a process, a file or a log.
        untrusted: whether whoever wrote the commits may not see all that the authorization opens. It then
            isn't used for submodules, whose URLs are in the commits.
    """

    url: str
    refs: tuple[str, ...] = ()
    authorization: str = field(default="", repr=False)
    untrusted: bool = False


class Sources(Protocol):
    """Commits on this machine. `key` tells a repository from every other, and never changes: its forge's id.

    Every method raises:
        Fault: `commit-missing`, `ref-missing`, `commit-not-a-tip`: there is no such thing there;
            `source-too-large`, `source-too-slow`: it is over a limit;
            `source-refused`: the credentials are no good; `repository-missing`: there is none, or none that
            may be seen; `submodule-refused`: one leads elsewhere; `lfs-missing`, `git-missing`: what it takes
            isn't installed; `source-disk-full`; `source-failed`: git says no otherwise, which the detail has.
        Retry: `source-away`: the repository's host doesn't answer.
    """

    async def resolve(self, origin: Origin, name: str) -> str:
        """The commit's id (40 or 64 hex digits) that a branch or a tag points to now.

        Nothing else that git may find in the repository counts: forges keep strangers' commits there, too,
        such as in `refs/pull/7/head`.

        Args:
            name: of a branch or a tag, short or full (`refs/heads/...`, `refs/tags/...`); the branch counts
                where both have it. A whole commit id is itself where a branch or a tag points to it.
        """

    def checkout(self, key: str, origin: Origin, sha: str) -> AbstractAsyncContextManager[Path]:
        """A folder with exactly the files of this commit, its submodules' and what LFS keeps elsewhere; no
        `.git` in it. It is removed at the end of the context, however that ends."""

    async def read(self, key: str, origin: Origin, sha: str, path: str) -> bytes | None:
        """One file of a commit, a megabyte at most; None when there is none.

        Raises:
            Fault: `not-a-plain-file`: it is a symbolic link, which isn't followed, or a folder.
        """

    async def sweep(self, keys: Iterable[str]) -> int:
        """Remove the mirrors of all other repositories, and what a killed process left over. Returns how
        many things went."""
