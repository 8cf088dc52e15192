"""Commits by git: bare mirrors, into which exactly the wanted commit is fetched, and folders that are filled
from them."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path, PurePosixPath

from stager.domain.errors import Fault
from stager.domain.pull_requests.git_refs import full_names
from stager.domain.source import is_commit_id
from stager.git import git
from stager.ports.source import Origin, Sources
from stager.sources import problems
from stager.sources.limits import Budget, Limits, bounded, too_slow
from stager.sources.mirror import Entry, Mirror, by_path, reaching
from stager.sources.trees import Tree, Trees

LARGEST_FILE = 1024 * 1024
"""Bytes of a file that is read alone: `stager.ports.source.Sources.read`."""

_NO_REF = re.compile(r"[\x00-\x20~^:?*\[\\\x7f]|\.\.|@\{|^-|^$|/$|\.lock$")
"""What isn't in the name of a ref (git-check-ref-format(1))."""


class GitSources(Sources):
    """See `stager.ports.source`.

    Args:
        folder: for the mirrors and the checkouts; made when it is needed, for nobody but us to read. Each
            repository has a folder of its own in it, with its mirror and those of its submodules.
    """

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self._homes = folder / "mirrors"
        self._rooms = folder / "trees"
        self._folder = folder
        self._limits = limits or Limits()
        self._mirrors: dict[Path, Mirror] = {}
        self._used: Counter[str] = Counter()
        self._open: set[str] = set()

    async def resolve(self, origin: Origin, name: str) -> str:
        if _NO_REF.search(name):
            raise problems.no_ref(origin, name)
        # What is tagged with a message has two lines: the tag's own, and the commit's with a mark at its end.
        names = [mark for full in full_names(name) for mark in (f"{full}^{{}}", full)]
        is_id = is_commit_id(name)
        found = await self._tips(origin, [] if is_id else names)
        if is_id and name in found.values():
            return name
        if sha := next((found[full] for full in names if full in found), ""):
            return sha
        raise problems.no_tip(origin, name) if is_id else problems.no_ref(origin, name)

    async def _tips(self, origin: Origin, names: Sequence[str]) -> dict[str, str]:
        """The commits that branches and tags point to now, by their full names.

        Args:
            names: only these; all of them if there are none here.
        """
        kinds = ("--heads", "--tags")  # has a server of protocol 2 leave out the rest (gitprotocol-v2(5))
        command = ("ls-remote", "--quiet", *kinds, *by_path(origin), "--", origin.url, *names)
        try:
            async with asyncio.timeout(self._limits.seconds):
                done = await git(*command, environ=reaching(origin))
        except TimeoutError:
            raise too_slow(f"The list of refs of {origin.url}", self._limits) from None
        if done.code:
            raise problems.ending_of(done, origin)
        return {name: sha for sha, _, name in (line.partition("\t") for line in done.text.splitlines())}

    @asynccontextmanager
    async def checkout(self, key: str, origin: Origin, sha: str) -> AsyncIterator[Path]:
        async with self._room() as room:
            tree = room / "tree"
            tree.mkdir()
            tree.chmod(0o755)  # as the root of what becomes an image; its parent is closed
            with self._using(key) as mirror_of:
                mirror, what = mirror_of(None), f"Commit {sha[:12]} of {origin.url}"
                await mirror.have(origin, sha)
                async with bounded(room, self._limits, what):
                    await Trees(self._limits, mirror_of).fill(
                        Tree(mirror, origin, sha, tree, room), Budget(self._limits, what)
                    )
            yield tree

    async def read(self, key: str, origin: Origin, sha: str, path: str) -> bytes | None:
        with self._using(key) as mirror_of:
            mirror = mirror_of(None)
            await mirror.have(origin, sha)
            entry = await _found(mirror, sha, path)
            if entry is None:
                return None
            if not entry.is_file:
                raise Fault(
                    f"{path[:200]} of commit {sha[:12]} isn't a plain file, but a symbolic link or a folder.",
                    hint="Stager doesn't follow links in commits. Commit the file itself.",
                    reason="not-a-plain-file",
                )
            if entry.size > LARGEST_FILE:
                raise Fault(
                    f"{path[:200]} of commit {sha[:12]} is larger than 1 MB.",
                    hint="Stager reads this file itself; nothing of that size belongs there.",
                    reason="source-too-large",
                )
            return (await mirror.run("cat-file", "blob", entry.object_id)).output

    async def sweep(self, keys: Iterable[str]) -> int:
        kept, busy = {_name(key) for key in keys}, {_name(key) for key in +self._used}
        doomed = [
            home
            for home in _inside(self._homes)
            if home.name not in busy and (home.name not in kept or _is_worn(home))
        ]
        doomed += [room for room in _inside(self._rooms) if room.name not in self._open]
        # Out of the way all at once: whoever asks while they are removed begins anew.
        moved = [path.rename(_grave(path)) for path in doomed]
        self._mirrors = {path: mirror for path, mirror in self._mirrors.items() if path.parent not in doomed}
        for path in moved:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        return len(moved)

    @contextmanager
    def _using(self, key: str) -> Iterator[Callable[[Origin | None], Mirror]]:
        """Keep the sweep from a repository's mirrors. Gives what finds that of a submodule, and for None its
        own."""
        home = self._homes / _name(key)

        def mirror_of(submodule: Origin | None) -> Mirror:
            path = home / (f"{_submodule(submodule)}.git" if submodule else "own.git")
            return self._mirrors.setdefault(path, Mirror(path, self._limits))

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._used[key] += 1
        try:
            yield mirror_of
        finally:
            self._used[key] -= 1

    @asynccontextmanager
    async def _room(self) -> AsyncIterator[Path]:
        """A new folder, which goes at the end."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._rooms.mkdir(exist_ok=True)
        room = Path(tempfile.mkdtemp(dir=self._rooms))
        self._open.add(room.name)
        try:
            yield room
        finally:
            removal = asyncio.ensure_future(asyncio.to_thread(shutil.rmtree, room, ignore_errors=True))
            removal.add_done_callback(lambda _: self._open.discard(room.name))
            await asyncio.shield(removal)


async def _found(mirror: Mirror, sha: str, path: str) -> Entry | None:
    """The entry of a file, or of what is there in its place."""
    plain = PurePosixPath(path)
    if path != str(plain) or plain.is_absolute() or not plain.parts or ".." in plain.parts or "\0" in path:
        return None
    entries = [entry async for entry in mirror.entries(sha, path)]
    return next((entry for entry in entries if entry.path == path), None)


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _submodule(origin: Origin) -> str:
    """What its mirror is called. What was fetched with credentials is nothing for strangers."""
    return _name(f"{origin.url} for strangers" if origin.by_stranger else origin.url)


def _grave(path: Path) -> Path:
    return path if path.suffix == ".gone" else path.with_name(f"{path.name}.gone")


def _is_worn(home: Path) -> bool:
    return any(Mirror(path, Limits()).is_worn for path in _inside(home))


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
