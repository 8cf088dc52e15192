"""Commits the files of a folder into a temporary repository when they have changed. Ignored files are left
out. The folder needn't be a repository; if it is one, that repository isn't changed."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from stager.domain.errors import Fault
from stager.git import Result, environment, git

BASE = "stager-up"
"""The temporary repository's default branch, which has no files."""

NO_COMMIT = "0" * 40
"""The id that stands for a missing commit in git's hooks (githooks(5))."""

_IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "stager up"), ("EMAIL", "stager@localhost"))
}


class WorkingTree:
    """A folder, and the repository into which it is committed.

    Args:
        folder: absolute.
        repository: the path of the temporary repository; `begin` removes what is there.
        branch: the branch of the commits.
    """

    def __init__(self, folder: Path, repository: Path, branch: str) -> None:
        self.folder = folder
        self.repository = repository
        self.ref = f"refs/heads/{branch}"
        self._index = repository / "stager-up-index"
        self._head, self._tree = NO_COMMIT, ""

    async def begin(self) -> None:
        """Create the repository, replacing an earlier one."""
        self.remove()
        self.repository.parent.mkdir(parents=True, exist_ok=True)
        await self._checked(
            await git("init", "--quiet", "--bare", f"--initial-branch={BASE}", self.repository)
        )
        empty = (await self._git("mktree", given=b"")).text
        base = (await self._git("commit-tree", empty, "-m", "Base")).text
        await self._git("update-ref", f"refs/heads/{BASE}", base)

    async def commit(self) -> str | None:
        """Commit the files' current content.

        Returns:
            The change as a line of a post-receive hook, or None if nothing has changed.

        Raises: Fault: `folder-unreadable`: git can't read the files, for example because one was removed
            meanwhile.
        """
        await self._git("--work-tree", str(self.folder), "add", "--all", "--", ".")
        tree = (await self._git("write-tree")).text
        if tree == self._tree:
            return None
        parents = () if self._head == NO_COMMIT else ("-p", self._head)
        subject = f"The files at {time.strftime('%H:%M:%S')}"
        sha = (await self._git("commit-tree", tree, *parents, "-m", subject)).text
        await self._git("update-ref", self.ref, sha)
        update = f"{self._head} {sha} {self.ref}"
        self._head, self._tree = sha, tree
        return update

    async def end(self) -> str:
        """Delete the branch. Returns the change as a line of a post-receive hook."""
        await self._git("update-ref", "-d", self.ref)
        return f"{self._head} {NO_COMMIT} {self.ref}"

    def remove(self) -> None:
        """Remove the repository."""
        shutil.rmtree(self.repository, ignore_errors=True)

    async def _git(self, *arguments: str, given: bytes | None = None) -> Result:
        ignored = self.folder / ".git" / "info" / "exclude"
        environ = environment(
            {
                # Commit the files byte by byte, without converting line ends.
                "core.autocrlf": "false",
                "core.excludesFile": str(ignored) if ignored.is_file() else os.devnull,
                "advice.addEmbeddedRepo": "false",
            }
        )
        variables = {**environ, **_IDENTITY, "GIT_INDEX_FILE": str(self._index)}
        done = await git(
            "--git-dir", self.repository, *arguments, environ=variables, cwd=self.folder, input_=given
        )
        return await self._checked(done)

    async def _checked(self, done: Result) -> Result:
        if done.code:
            raise Fault(
                f"git can't read {self.folder}: {done.errors.strip()[-500:]}", reason="folder-unreadable"
            )
        return done
