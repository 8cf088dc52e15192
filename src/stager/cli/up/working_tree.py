"""Commits the files of a folder into a temporary repository when they have changed. Ignored files are left
out. The folder needn't be a repository; if it is one, that repository isn't changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from stager.domain.errors import Fault
from stager.git import Result, environment, git

BASE = "stager-up"
"""The temporary repository's default branch, which has no files."""

NO_COMMIT = "0" * 40
"""The id that stands for a missing commit in git's hooks (githooks(5))."""

LOCAL_ENV = (".env", ".env.local", ".env.*.local")
"""Names of files with a developer's own values, which may be secret. They are committed only if the folder's
own repository has them."""

SUBMODULE = "160000"
"""The mode of a repository in the index (git-fast-import(1), `filemodify`)."""

MAX_DEPTH = 5
"""Depth of repositories within repositories whose files are included."""

Overlay = Callable[[], Mapping[str, bytes]]
"""Returns files, by path, that replace those of the folder in each commit."""

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
        overlay: see `Overlay`.
    """

    def __init__(self, folder: Path, repository: Path, branch: str, overlay: Overlay = dict) -> None:
        self.folder = folder
        self.repository = repository
        self.ref = f"refs/heads/{branch}"
        self._overlay = overlay
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

        Raises:
            Fault: `folder-unreadable`: git can't read the files, for example because one was removed
                meanwhile.
        """
        tree = await self._with_files(await self._snapshot(self.folder), self._overlay())
        if tree == self._tree:
            return None
        parents = () if self._head == NO_COMMIT else ("-p", self._head)
        subject = f"The files at {time.strftime('%H:%M:%S')}"
        sha = (await self._git("commit-tree", tree, *parents, "-m", subject)).text
        await self._git("update-ref", self.ref, sha)
        update = f"{self._head} {sha} {self.ref}"
        self._head, self._tree = sha, tree
        return update

    @property
    def head(self) -> str:
        """The id of the last commit."""
        return self._head

    async def end(self) -> str:
        """Delete the branch. Returns the change as a line of a post-receive hook."""
        await self._git("update-ref", "-d", self.ref)
        return f"{self._head} {NO_COMMIT} {self.ref}"

    def remove(self) -> None:
        """Remove the repository."""
        shutil.rmtree(self.repository, ignore_errors=True)

    async def _snapshot(self, folder: Path, depth: int = 0) -> str:
        """Return the id of a tree with the folder's files, including those of repositories in it."""
        index = f"stager-up-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
        excluded = (f":(exclude,glob)**/{name}" for name in LOCAL_ENV)
        await self._git("add", "--all", "--", ".", *excluded, folder=folder, index=index)
        if tracked := await tracked_env_files(folder):
            await self._git("update-index", "--add", "--remove", "--", *tracked, folder=folder, index=index)
        tree = (await self._git("write-tree", folder=folder, index=index)).text
        listed = (await self._git("ls-files", "--stage", "-z", index=index)).output.decode(
            errors="surrogateescape"
        )
        inner = [line.partition("\t")[2] for line in listed.split("\0") if line.startswith(SUBMODULE)]
        if depth == MAX_DEPTH:
            return tree
        trees = {path: await self._snapshot(folder / path, depth + 1) for path in inner}
        return await self._with_trees(tree, trees)

    async def _with_trees(self, tree: str, inner: Mapping[str, str]) -> str:
        """Replace repositories in a tree by their files.

        Args:
            inner: the path of each repository, and the id of the tree with its files.
        """
        if not inner:
            return tree
        await self._git("read-tree", tree)
        removed = "".join(f"0 {NO_COMMIT}\t{path}\0" for path in inner)
        await self._git("update-index", "-z", "--index-info", given=os.fsencode(removed))
        for path, files in inner.items():
            await self._git("read-tree", f"--prefix={path}/", files)
        return (await self._git("write-tree")).text

    async def _with_files(self, tree: str, files: Mapping[str, bytes]) -> str:
        """Add files to a tree, or replace them. Returns the new tree's id."""
        if not files:
            return tree
        await self._git("read-tree", tree)
        for path, content in files.items():
            blob = (await self._git("hash-object", "-w", "--stdin", given=content)).text
            await self._git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
        return (await self._git("write-tree")).text

    async def _git(
        self,
        *arguments: str,
        given: bytes | None = None,
        folder: Path | None = None,
        index: str = "stager-up-composed",
    ) -> Result:
        """Run git on the temporary repository, with a folder as its working tree and one of its indices."""
        folder = folder or self.folder
        ignored = folder / ".git" / "info" / "exclude"
        environ = environment(
            {
                # Commit the files byte by byte, without converting line ends.
                "core.autocrlf": "false",
                "core.excludesFile": str(ignored) if ignored.is_file() else os.devnull,
                "advice.addEmbeddedRepo": "false",
            }
        )
        variables = {**environ, **_IDENTITY, "GIT_INDEX_FILE": str(self.repository / index)}
        where = ("--git-dir", self.repository, "--work-tree", folder)
        done = await git(*where, *arguments, environ=variables, cwd=folder, input_=given)
        return await self._checked(done)

    async def _checked(self, done: Result) -> Result:
        if done.code:
            raise Fault(
                f"git can't read {self.folder}: {done.errors.strip()[-500:]}", reason="folder-unreadable"
            )
        return done


async def tracked_env_files(folder: Path) -> tuple[str, ...]:
    """Return the files of `LOCAL_ENV` that the folder's own repository has; none if it isn't in one."""
    patterns = (f":(glob)**/{name}" for name in LOCAL_ENV)
    done = await git("ls-files", "-z", "--", *patterns, cwd=folder)
    found = done.output.decode(errors="surrogateescape").split("\0") if done.code == 0 else ()
    return tuple(path for path in found if path)
