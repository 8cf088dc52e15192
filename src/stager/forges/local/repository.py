"""A bare repository of the local forge: its state as read from git, and Stager's folder in it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from stager.domain.errors import Refused, Retry
from stager.forges.local import hook, register
from stager.forges.local.push_client import BRANCHES, NAME, SECRET, SERVER
from stager.forges.local.register import Entry, Register, Tip
from stager.git import Result, environment, git

PATIENCE = 10.0
"""Time limit in seconds for git, and for the lock."""

SETTINGS = {
    # A build fetches one commit by its id, also after a force-push.
    "uploadpack.allowAnySHA1InWant": "true",
    # Clones of CI jobs are shallow (git-config(1)).
    "receive.shallowUpdate": "true",
    # `git push -o wait` (git-push(1)).
    "receive.advertisePushOptions": "true",
    # Only Stager writes the refs of changes.
    "receive.hideRefs": "refs/pull",
}
USUAL = ("main", "master")
"""Names of the default branch, if several branches are pushed first."""


class LocalRepository:
    """A bare repository.

    Args:
        path: of the repository, absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ours = path / "stager"

    async def adopt(self) -> bool:
        """Create the bare repository if it is missing, with the hook and a secret. Existing content is kept.

        Returns:
            Whether it was created.

        Raises:
            Refused: `not-a-bare-repository`, `repository-unusable`.
        """
        try:
            new = await self._initialised()
            for key, value in SETTINGS.items():
                await self._git("config", key, value)
            hook.install(self.path)
            self._ours.mkdir(exist_ok=True)
            self._keep_secret()
        except OSError as error:
            raise Refused(
                f"{self.path} can't be used as a repository: {error.strerror}.",
                hint="Make it writable for Stager's user.",
                reason="repository-unusable",
            ) from error
        return new

    @property
    def secret(self) -> bytes:
        """The hook's signing secret. Raises OSError if it can't be read."""
        return (self.path / SECRET).read_bytes().strip()

    def introduce(self, name: str, server: str = "") -> None:
        """Store the repository's name and Stager's URL for the hook.

        Args:
            server: the URL; empty to keep the stored one.
        """
        _replace(self.path / NAME, f"{name}\n".encode())
        if server or not (self.path / SERVER).exists():
            _replace(self.path / SERVER, f"{server}\n".encode())

    async def changes(self) -> Register:
        """All branches as changes, in their current state. New branches get their numbers.

        Raises:
            Retry: `repository-away`: git failed or timed out.
        """
        try:
            async with asyncio.timeout(PATIENCE), self._lock():
                return await self._reconciled()
        except TimeoutError:
            raise away(self.path, f"git didn't finish within {PATIENCE:g} s") from None
        except OSError as error:
            raise away(self.path, error.strerror or str(error)) from error

    async def paths(self, entry: Entry) -> list[str]:
        """The files that a change modifies. Raises what `changes` does."""
        merge_base = await self._run("merge-base", f"refs/heads/{entry.base}", entry.head)
        if merge_base.code:  # No common history: all files are new.
            done = await self._git("ls-tree", "-r", "-z", "--name-only", entry.head)
        else:
            done = await self._git("diff", "--name-only", "--no-renames", "-z", merge_base.text, entry.head)
        return [path for path in done.output.decode(errors="replace").split("\0") if path]

    async def _initialised(self) -> bool:
        if not self.path.exists() or not any(self.path.iterdir()):
            if not self.path.parent.exists():
                self.path.parent.mkdir(parents=True)
                self.path.parent.chmod(0o755)  # Other users may clone from it.
            done = await git("init", "--quiet", "--bare", "--initial-branch=main", self.path)
            if done.code:
                raise Refused(
                    f"git can't create a repository at {self.path}: {done.errors.strip()}",
                    reason="repository-unusable",
                )
            return True
        if (await self._run("rev-parse", "--is-bare-repository")).text != "true":
            raise Refused(
                f"{self.path} isn't a bare repository.",
                hint="Give the path of a bare repository, or an unused path. The branches of a working copy"
                " can be pushed to a bare repository beside it.",
                reason="not-a-bare-repository",
            )
        return False

    def _keep_secret(self) -> None:
        file = self.path / SECRET
        if not file.exists():
            draft = file.with_suffix(".new")
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_hex(32) + "\n")
            draft.rename(file)
        file.chmod(0o600)

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[None]:
        """Hold the lock for numbering changes, across processes."""
        with (self._ours / "lock").open("a") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(0.02)
            yield

    async def _reconciled(self) -> Register:
        refs = await self._refs()
        default = await self._default_branch(refs)
        before = self._read()
        if before is None:
            before = register.recovered(refs)
        merged = {e.number for e in register.closing(before, refs, default) if await self._is_in(e, default)}
        after = register.reconciled(before, refs, default=default, merged=merged, now=int(time.time()))
        if after != before:
            _replace(self._ours / "changes.json", register.write(after))
        await self._point(after, refs)
        return after

    def _read(self) -> Register | None:
        try:
            return register.read((self._ours / "changes.json").read_bytes())
        except FileNotFoundError:
            return None

    async def _refs(self) -> dict[str, Tip]:
        done = await self._git("for-each-ref", f"--format={register.FORMAT}", "refs/heads", "refs/pull")
        return register.tips_of(done.output.decode(errors="replace").split("\n"))

    async def _default_branch(self, refs: Mapping[str, Tip]) -> str:
        """The branch in HEAD; if it was never pushed, the first pushed branch, as at other forges."""
        branches = register.branches_of(refs)
        # Usually a file (gitrepository-layout(5)); reading it is faster than running git.
        head = (self.path / "HEAD").read_text("utf-8", "replace").strip()
        if (default := head.removeprefix(f"ref: {BRANCHES}")) in branches:
            return default
        default = (await self._git("symbolic-ref", "--short", "HEAD")).text
        if default in branches or not branches:
            return default
        first = [name for name in USUAL if name in branches] or (list(branches) if len(branches) == 1 else [])
        if not first:
            return default
        await self._git("symbolic-ref", "HEAD", f"refs/heads/{first[0]}")
        return first[0]

    async def _is_in(self, entry: Entry, default: str) -> bool:
        done = await self._run("merge-base", "--is-ancestor", entry.head, f"refs/heads/{default}")
        return done.code == 0

    async def _point(self, wanted: Register, refs: Mapping[str, Tip]) -> None:
        """Point `refs/pull/N/head` to the changes' heads."""
        lines = [
            f"update {ref} {sha}\n" for ref, sha in wanted.refs.items() if refs.get(ref, Tip("")).sha != sha
        ]
        if lines:
            await self._git("update-ref", "--stdin", given="".join(lines).encode())

    async def _git(self, *arguments: str, given: bytes | None = None) -> Result:
        done = await self._run(*arguments, given=given)
        if done.code:
            raise away(self.path, done.errors.strip() or f"exit code {done.code}")
        return done

    async def _run(self, *arguments: str, given: bytes | None = None) -> Result:
        return await git("--git-dir", self.path, *arguments, environ=environment(), input_=given)


def away(path: Path, why: str) -> Retry:
    return Retry(
        f"The repository {path} can't be read: {why[:300]}",
        hint="Check that it exists and that Stager's user can read and write it.",
        reason="repository-away",
    )


def _replace(file: Path, content: bytes) -> None:
    """Replace a file atomically."""
    draft = file.with_suffix(".new")
    with draft.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
