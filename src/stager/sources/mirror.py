"""A bare repository of ours with those commits of somebody's repository that were asked for.

It is a cache: one that can't be fetched into any more is made anew. A commit is there when a ref of ours
names it, and git writes that only once everything that belongs to the commit is there, too.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from stager.domain.errors import Fault, StagerError
from stager.domain.source import is_commit_id
from stager.git import Done, environment, git, started
from stager.ports.source import Origin
from stager.sources import problems
from stager.sources.limits import Limits, bounded

DEPTH_OF_REFS = "50"
"""Commits that are fetched from the tip of a ref, where a commit can't be had by its id: one that was pushed
over meanwhile is among them."""

MOST_PACKS = 200
"""Packs, one a fetch, of which looking something up gets slow."""

UPLOAD_PACK = "git -c 'safe.directory=*' upload-pack"
"""What answers in a repository on this machine: it doesn't inherit the configuration of who asks."""

FILE, SUBMODULE = "100", "160000"
"""How git's modes of files begin, and that of a submodule (git-fast-import(1), `filemodify`)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a commit's list of files.

    Args:
        size: bytes; 0 for a submodule.
    """

    mode: str
    object_id: str
    size: int
    path: str

    @property
    def is_file(self) -> bool:
        return self.mode.startswith(FILE)


class Mirror:
    """One repository's.

    Args:
        path: of its folder, which needn't be there yet.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self._limits = limits
        self._turn = asyncio.Lock()

    async def have(self, origin: Origin, sha: str) -> None:
        """Have the commit here. Raises as `stager.ports.source.Sources` does."""
        if not is_commit_id(sha):
            raise problems.no_commit(origin, sha)
        if await self._has(sha):
            return  # whoever fetches others needn't be waited for
        async with self._turn:
            if not await self._has(sha):
                await self._fetch(origin, sha)

    async def run(
        self, *arguments: str, given: bytes | None = None, variables: Mapping[str, str] | None = None
    ) -> Done:
        """git on what is here; nothing is fetched.

        Args:
            given: what it reads.
            variables: of its environment, such as `GIT_INDEX_FILE`.

        Raises:
            Fault: `source-failed`: it can't; what is here isn't usable.
        """
        done = await git(*self._at, *arguments, environ=environment() | dict(variables or {}), given=given)
        if done.code:
            raise problems.ending_of(done, Origin(str(self.path)))
        return done

    async def entries(self, sha: str, *paths: str) -> AsyncIterator[Entry]:
        """The files of a commit, as they are read: a list of them may be of any length.

        Args:
            paths: only these; all that are in the commit, folders entered, if none is given.
        """
        options = ("--full-tree", "-l", "-z", *(() if paths else ("-r",)))
        command = (*self._at, "--literal-pathspecs", "ls-tree", *options, sha, "--", *paths)
        async with started(command, environment()) as process:
            if process.stdout is None:
                return
            rest = b""
            while chunk := await process.stdout.read(65536):
                *lines, rest = (rest + chunk).split(b"\0")
                for line in lines:
                    yield _entry(line)
            if await process.wait():
                raise Fault(f"The files of commit {sha} can't be listed.", reason="source-failed")

    @property
    def is_worn(self) -> bool:
        """Whether one that is made anew would serve better."""
        return len(list((self.path / "objects" / "pack").glob("*.pack"))) > MOST_PACKS

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def _at(self) -> tuple[str, ...]:
        return ("--git-dir", str(self.path))

    async def _has(self, sha: str) -> bool:
        if not (self.path / _ours(sha)).is_file():  # nobody packs our refs, and no git is quicker
            return False
        done = await git(*self._at, "rev-parse", "--verify", "--quiet", f"{_ours(sha)}^{{tree}}")
        return done.code == 0

    async def _fetch(self, origin: Origin, sha: str) -> None:
        fresh = await self._prepare(sha)
        try:
            await self._fetch_into(origin, sha)
        except StagerError as error:
            if fresh or (error.reason != "source-failed" and await self._is_sound()):
                raise
            await asyncio.to_thread(self.remove)
            await self._prepare(sha)
            await self._fetch_into(origin, sha)

    async def _is_sound(self) -> bool:
        """Whether git takes it for a repository. What it says of one that isn't could be said of the other
        end's, too."""
        return (await git(*self._at, "rev-parse", "--is-bare-repository")).code == 0

    async def _prepare(self, sha: str) -> bool:
        """Have a repository here that can be fetched into. Returns whether it is a new one."""
        if (self.path / "HEAD").is_file():
            await asyncio.to_thread(self._tidy)
            return False
        await asyncio.to_thread(self.remove)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        done = await git(
            "init", "--quiet", "--bare", "--template=",
            f"--object-format={'sha1' if len(sha) == 40 else 'sha256'}", self.path,
            environ=environment({"init.defaultRefFormat": "files"}),
        )  # fmt: skip
        if done.code:
            raise problems.ending_of(done, Origin(str(self.path)))
        return True

    def _tidy(self) -> None:
        """Remove what a killed fetch left over. Nobody else fetches into it."""
        for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp*"):
            for path in self.path.glob(pattern):
                path.unlink(missing_ok=True)

    async def _fetch_into(self, origin: Origin, sha: str) -> None:
        async with bounded(self.path, self._limits, f"Commit {sha[:12]} of {origin.url}"):
            done = await self._ask(origin, "--depth=1", f"+{sha}:{_ours(sha)}")
            if done.code and origin.refs and problems.NO_COMMIT.search(done.errors):
                done = await self._fetch_refs(origin, sha)
        if done.code and problems.NO_COMMIT.search(done.errors):
            raise problems.no_commit(origin, sha)
        if done.code:
            raise problems.ending_of(done, origin)

    async def _fetch_refs(self, origin: Origin, sha: str) -> Done:
        """Fetch the commit where the host hands out refs only; some of these may not be there."""
        for ref in origin.refs:
            done = await self._ask(origin, f"--depth={DEPTH_OF_REFS}", f"+{ref}:refs/stager/tip")
            if done.code and not problems.NO_COMMIT.search(done.errors):
                return done
            with suppress(StagerError):
                await self.run("update-ref", _ours(sha), f"{sha}^{{commit}}")
                return done
        raise problems.no_commit(origin, sha)

    async def _ask(self, origin: Origin, depth: str, refspec: str) -> Done:
        return await git(
            *self._at, "fetch", *SILENTLY, depth, *by_path(origin), "--", origin.url, refspec,
            environ=reaching(origin),
        )  # fmt: skip


SILENTLY = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-gc")


def reaching(origin: Origin, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a git that talks with this repository's host: the credentials are in it, for this
    host alone, and no other protocol is spoken.

    Args:
        more: further configuration.
    """
    configuration = {
        "fetch.unpackLimit": "1",  # a pack is there whole or not at all
        "fetch.writeCommitGraph": "false",
        # A host that goes silent: less than 1000 bytes a second for a minute.
        "http.lowSpeedLimit": "1000",
        "http.lowSpeedTime": "60",
        **(more or {}),
    }
    url = urlsplit(origin.url)
    if not url.scheme:
        return environment(configuration, protocols="file")
    if origin.authorization:
        # What follows a redirection takes its headers along.
        configuration["http.followRedirects"] = "false"
        configuration[f"http.{url.scheme}://{url.netloc}/.extraHeader"] = (
            f"Authorization: {origin.authorization}"
        )
    return environment(configuration, protocols=url.scheme if url.scheme in ("http", "https") else "none")


def by_path(origin: Origin) -> tuple[str, ...]:
    """The options that it takes to talk with a repository on this machine."""
    return () if urlsplit(origin.url).scheme else ("--upload-pack", UPLOAD_PACK)


def _ours(sha: str) -> str:
    return f"refs/stager/{sha}"


def _entry(line: bytes) -> Entry:
    facts, _, path = line.partition(b"\t")
    mode, _, object_id, size = facts.decode().split()
    return Entry(mode, object_id, 0 if size == "-" else int(size), path.decode(errors="surrogateescape"))
