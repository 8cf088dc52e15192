"""A bare repository with the requested commits of another one.

It is a cache: one that is damaged is created again. A commit is complete when a ref in `refs/stager/` points
to it, because git writes the ref after all objects.
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
from stager.git import Result, environment, git, started
from stager.ports.source import Origin
from stager.sources import problems
from stager.sources.limits import Limits, bounded

DEPTH_OF_REFS = "50"
"""Number of commits fetched from the tip of a ref, where the host doesn't serve a commit by its id. They
include one that was replaced by a push meanwhile."""

MOST_PACKS = 200
"""Number of packs (one per fetch) beyond which lookups get slow."""

UPLOAD_PACK = "git -c 'safe.directory=*' upload-pack"
"""The server's side for a repository on this machine; it doesn't inherit the client's configuration."""

FILE, SUBMODULE = "100", "160000"
"""The prefix of git's file modes, and the mode of a submodule (git-fast-import(1), `filemodify`)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a commit's tree.

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
    """The mirror of one repository.

    Args:
        path: of its folder; created by the first fetch.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self._limits = limits
        self._lock = asyncio.Lock()

    async def ensure(self, origin: Origin, sha: str) -> None:
        """Fetch the commit unless it is there. Raises what `stager.ports.source.Sources` does."""
        if not is_commit_id(sha):
            raise problems.no_commit(origin, sha)
        if await self._has(sha):
            return  # without waiting for other fetches
        async with self._lock:
            if not await self._has(sha):
                await self._fetch(origin, sha)

    async def run(
        self, *arguments: str, input_: bytes | None = None, variables: Mapping[str, str] | None = None
    ) -> Result:
        """Run git in the mirror, without fetching.

        Args:
            input_: its standard input.
            variables: additional environment variables, such as `GIT_INDEX_FILE`.

        Raises:
            Fault: `source-failed`: git failed; the mirror isn't usable.
        """
        result = await git(
            *self._at, *arguments, environ=environment() | dict(variables or {}), input_=input_
        )
        if result.code:
            raise problems.error_of(result, Origin(str(self.path)))
        return result

    async def entries(self, sha: str, *paths: str) -> AsyncIterator[Entry]:
        """The entries of a commit's tree, one after the other: there may be any number.

        Args:
            paths: only these; without any, all files, recursively.
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
    def is_fragmented(self) -> bool:
        """Whether it has so many packs that a new one is faster."""
        return len(list((self.path / "objects" / "pack").glob("*.pack"))) > MOST_PACKS

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def _at(self) -> tuple[str, ...]:
        return ("--git-dir", str(self.path))

    async def _has(self, sha: str) -> bool:
        if not (self.path / _ref(sha)).is_file():  # Stager's refs are never packed; faster than git
            return False
        result = await git(*self._at, "rev-parse", "--verify", "--quiet", f"{_ref(sha)}^{{tree}}")
        return result.code == 0

    async def _fetch(self, origin: Origin, sha: str) -> None:
        is_new = await self._prepare(sha)
        try:
            await self._fetch_into(origin, sha)
        except StagerError as error:
            if is_new or (error.reason != "source-failed" and await self._is_sound()):
                raise
            await asyncio.to_thread(self.remove)
            await self._prepare(sha)
            await self._fetch_into(origin, sha)

    async def _is_sound(self) -> bool:
        """Whether git accepts it as a repository. Its error messages don't tell a damaged mirror from a
        damaged origin."""
        return (await git(*self._at, "rev-parse", "--is-bare-repository")).code == 0

    async def _prepare(self, sha: str) -> bool:
        """Create the repository, or clean it up. Returns whether it is new."""
        if (self.path / "HEAD").is_file():
            await asyncio.to_thread(self._remove_leftovers)
            return False
        await asyncio.to_thread(self.remove)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        result = await git(
            "init", "--quiet", "--bare", "--template=",
            f"--object-format={'sha1' if len(sha) == 40 else 'sha256'}", self.path,
            environ=environment({"init.defaultRefFormat": "files"}),
        )  # fmt: skip
        if result.code:
            raise problems.error_of(result, Origin(str(self.path)))
        return True

    def _remove_leftovers(self) -> None:
        """Remove the files of a killed fetch. The lock excludes other fetches."""
        for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp*"):
            for path in self.path.glob(pattern):
                path.unlink(missing_ok=True)

    async def _fetch_into(self, origin: Origin, sha: str) -> None:
        async with bounded(self.path, self._limits, f"Commit {sha[:12]} of {origin.url}"):
            result = await self._git_fetch(origin, "--depth=1", f"+{sha}:{_ref(sha)}")
            if result.code and origin.refs and problems.NO_COMMIT.search(result.errors):
                result = await self._fetch_refs(origin, sha)
        if result.code and problems.NO_COMMIT.search(result.errors):
            raise problems.no_commit(origin, sha)
        if result.code:
            raise problems.error_of(result, origin)

    async def _fetch_refs(self, origin: Origin, sha: str) -> Result:
        """Fetch the commit from a host that serves refs only; some of these may not exist."""
        for ref in origin.refs:
            result = await self._git_fetch(origin, f"--depth={DEPTH_OF_REFS}", f"+{ref}:refs/stager/tip")
            if result.code and not problems.NO_COMMIT.search(result.errors):
                return result
            with suppress(StagerError):
                await self.run("update-ref", _ref(sha), f"{sha}^{{commit}}")
                return result
        raise problems.no_commit(origin, sha)

    async def _git_fetch(self, origin: Origin, depth: str, refspec: str) -> Result:
        return await git(
            *self._at, "fetch", *FETCH_OPTIONS, depth, *path_options(origin), "--", origin.url, refspec,
            environ=environment_for(origin),
        )  # fmt: skip


FETCH_OPTIONS = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-gc")


def environment_for(origin: Origin, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a git that connects to this repository's host: with the credentials for this host
    only, and only this protocol allowed.

    Args:
        more: further configuration.
    """
    configuration = {
        "fetch.unpackLimit": "1",  # objects stay in packs, which are written atomically
        "fetch.writeCommitGraph": "false",
        # Abort when a host sends less than 1000 bytes a second for a minute.
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


def path_options(origin: Origin) -> tuple[str, ...]:
    """Options for a repository on this machine; none for others."""
    return () if urlsplit(origin.url).scheme else ("--upload-pack", UPLOAD_PACK)


def _ref(sha: str) -> str:
    return f"refs/stager/{sha}"


def _entry(line: bytes) -> Entry:
    fields, _, path = line.partition(b"\t")
    mode, _, object_id, size = fields.decode().split()
    return Entry(mode, object_id, 0 if size == "-" else int(size), path.decode(errors="surrogateescape"))
