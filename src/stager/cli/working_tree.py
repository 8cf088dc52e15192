"""The files of a folder as commits of a throwaway repository, whenever they have changed. What `.gitignore`
names stays out; the folder needn't be a repository, and if it is one, that is left alone."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from stager.domain.errors import Fault
from stager.git import Done, environment, git

BASE = "stager-up"
"""The throwaway repository's default branch, with no file in it."""

NOBODY = "0" * 40
"""What git calls a ref's value that has none (githooks(5))."""

_WHO = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "stager up"), ("EMAIL", "stager@localhost"))
}


class WorkingTree:
    """A folder, and the repository into which it is committed.

    Args:
        folder: absolute.
        repository: a path of ours; what was there is removed by `begin`.
        branch: the name of the branch that the commits are on.
    """

    def __init__(self, folder: Path, repository: Path, branch: str) -> None:
        self.folder = folder
        self.repository = repository
        self.ref = f"refs/heads/{branch}"
        self._index = repository / "stager-up-index"
        self._head, self._tree = NOBODY, ""

    async def begin(self) -> None:
        """Make the repository anew."""
        self.remove()
        self.repository.parent.mkdir(parents=True, exist_ok=True)
        await self._checked(
            await git("init", "--quiet", "--bare", f"--initial-branch={BASE}", self.repository)
        )
        empty = (await self._git("mktree", given=b"")).text
        base = (await self._git("commit-tree", empty, "-m", "Nothing yet")).text
        await self._git("update-ref", f"refs/heads/{BASE}", base)

    async def commit(self) -> str | None:
        """Commit the files as they are now.

        Returns:
            What git tells a hook of it, or None if nothing has changed.

        Raises:
            Fault: `folder-unreadable`: git can't read them, for instance because one vanished meanwhile.
        """
        await self._git("--work-tree", str(self.folder), "add", "--all", "--", ".")
        tree = (await self._git("write-tree")).text
        if tree == self._tree:
            return None
        parents = () if self._head == NOBODY else ("-p", self._head)
        subject = f"The files at {time.strftime('%H:%M:%S')}"
        sha = (await self._git("commit-tree", tree, *parents, "-m", subject)).text
        await self._git("update-ref", self.ref, sha)
        told = f"{self._head} {sha} {self.ref}"
        self._head, self._tree = sha, tree
        return told

    async def end(self) -> str:
        """Delete the branch. Returns what git tells a hook of it."""
        await self._git("update-ref", "-d", self.ref)
        return f"{self._head} {NOBODY} {self.ref}"

    def remove(self) -> None:
        """Remove the repository."""
        shutil.rmtree(self.repository, ignore_errors=True)

    async def _git(self, *arguments: str, given: bytes | None = None) -> Done:
        ignored = self.folder / ".git" / "info" / "exclude"
        environ = environment(
            {
                # What is committed is what lies there, byte by byte.
                "core.autocrlf": "false",
                "core.excludesFile": str(ignored) if ignored.is_file() else os.devnull,
                "advice.addEmbeddedRepo": "false",
            }
        )
        variables = {**environ, **_WHO, "GIT_INDEX_FILE": str(self._index)}
        done = await git(
            "--git-dir", self.repository, *arguments, environ=variables, cwd=self.folder, given=given
        )
        return await self._checked(done)

    async def _checked(self, done: Done) -> Done:
        if done.code:
            raise Fault(
                f"git can't take in {self.folder}: {done.errors.strip()[-500:]}", reason="folder-unreadable"
            )
        return done
