"""One bare repository that is a forge: git's answers about it, and the folder of ours in it."""

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
from stager.forges.local.pushed import BRANCHES, NAME, SECRET, SERVER
from stager.forges.local.register import Entry, Register, Tip
from stager.git import Result, environment, git

PATIENCE = 10.0
"""Seconds that a git on this machine, or another process's turn, is waited for."""

SETTINGS = {
    # A build wants exactly one commit, also one that was pushed over meanwhile.
    "uploadpack.allowAnySHA1InWant": "true",
    # Clones of CI jobs are shallow (git-config(1)).
    "receive.shallowUpdate": "true",
    # The refs of changes are ours to write.
    "receive.hideRefs": "refs/pull",
}
USUAL = ("main", "master")
"""Names of a first branch that make it the default one, where several are pushed first."""


class LocalRepository:
    """A bare repository.

    Args:
        path: of the repository, absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ours = path / "stager"

    async def adopt(self) -> bool:
        """Have a bare repository there, with our hook and a secret. What is there already is kept.

        Returns:
            Whether it is a new one.

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
                hint="May Stager's user write there?",
                reason="repository-unusable",
            ) from error
        return new

    @property
    def secret(self) -> bytes:
        """What the hook signs with. Raises OSError where it can't be read."""
        return (self.path / SECRET).read_bytes().strip()

    def introduce(self, name: str, server: str = "") -> None:
        """Write down for the hook what the repository is called, and where Stager answers.

        Args:
            server: a URL; empty for what was written before.
        """
        _replace(self.path / NAME, f"{name}\n".encode())
        if server or not (self.path / SERVER).exists():
            _replace(self.path / SERVER, f"{server}\n".encode())

    async def changes(self) -> Register:
        """Every branch as a change, as it is now. New ones get their number.

        Raises:
            Retry: `repository-away`: that can't be told for certain.
        """
        try:
            async with asyncio.timeout(PATIENCE), self._turn():
                return await self._reconciled()
        except TimeoutError:
            raise away(self.path, f"nothing came within {PATIENCE:g} s") from None
        except OSError as error:
            raise away(self.path, error.strerror or str(error)) from error

    async def paths(self, entry: Entry) -> list[str]:
        """The files that a change touches. Raises as `changes` does."""
        merge_base = await self._run("merge-base", f"refs/heads/{entry.base}", entry.head)
        if merge_base.code:  # no history in common: all of it is new
            done = await self._git("ls-tree", "-r", "-z", "--name-only", entry.head)
        else:
            done = await self._git("diff", "--name-only", "--no-renames", "-z", merge_base.text, entry.head)
        return [path for path in done.output.decode(errors="replace").split("\0") if path]

    async def _initialised(self) -> bool:
        if not self.path.exists() or not any(self.path.iterdir()):
            if not self.path.parent.exists():
                self.path.parent.mkdir(parents=True)
                self.path.parent.chmod(0o755)  # others may clone what is in it
            done = await git("init", "--quiet", "--bare", "--initial-branch=main", self.path)
            if done.code:
                raise Refused(
                    f"git can't make a repository at {self.path}: {done.errors.strip()}",
                    reason="repository-unusable",
                )
            return True
        if (await self._run("rev-parse", "--is-bare-repository")).text != "true":
            raise Refused(
                f"{self.path} isn't a bare repository.",
                hint="Name one, or a path at which there is nothing yet. The branches of a repository that"
                " somebody works in can be pushed to a bare one beside it.",
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
    async def _turn(self) -> AsyncIterator[None]:
        """Be the only one that gives out numbers, among all processes."""
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
        """What HEAD names; where that was never pushed, the first branch that was, as forges do."""
        branches = register.branches_of(refs)
        # A file, in most repositories (gitrepository-layout(5)), and no git is quicker.
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
        """Have `refs/pull/N/head` point to the changes' heads."""
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
        hint="Is it there, and may Stager's user read and write it?",
        reason="repository-away",
    )


def _replace(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    draft = file.with_suffix(".new")
    with draft.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
