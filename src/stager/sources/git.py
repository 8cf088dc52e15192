"""Fetches single commits into bare mirrors, and checks them out into temporary folders."""

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
from stager.sources.mirror import Entry, Mirror, environment_for, path_options
from stager.sources.trees import Tree, Trees

LARGEST_FILE = 1024 * 1024
"""Maximum size in bytes of a file that `Sources.read` reads."""

_INVALID_REF = re.compile(r"[\x00-\x20~^:?*\[\\\x7f]|\.\.|@\{|^-|^$|/$|\.lock$")
"""Matches what a ref's name can't contain (git-check-ref-format(1))."""


class GitSources(Sources):
    """See `stager.ports.source`.

    Args:
        folder: for mirrors and checkouts; created when needed, with mode 0700. Each repository has a folder
            in it, with its own mirror and those of its submodules.
    """

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self._mirror_folders = folder / "mirrors"
        self._checkouts = folder / "trees"
        self._folder = folder
        self._limits = limits or Limits()
        self._mirrors: dict[Path, Mirror] = {}
        self._in_use: Counter[str] = Counter()
        self._open_checkouts: set[str] = set()

    async def resolve(self, origin: Origin, name: str) -> str:
        if _INVALID_REF.search(name):
            raise problems.no_ref(origin, name)
        # An annotated tag has two lines: the tag object's, and the commit's with `^{}` at the end of the
        # name.
        names = [ref for full in full_names(name) for ref in (f"{full}^{{}}", full)]
        is_id = is_commit_id(name)
        found = await self._tips(origin, [] if is_id else names)
        if is_id and name in found.values():
            return name
        if sha := next((found[full] for full in names if full in found), ""):
            return sha
        raise problems.no_tip(origin, name) if is_id else problems.no_ref(origin, name)

    async def _tips(self, origin: Origin, names: Sequence[str]) -> dict[str, str]:
        """The commits that branches and tags point to, by full names.

        Args:
            names: only these; all if empty.
        """
        kinds = ("--heads", "--tags")  # a server of protocol 2 leaves out the rest (gitprotocol-v2(5))
        command = ("ls-remote", "--quiet", *kinds, *path_options(origin), "--", origin.url, *names)
        try:
            async with asyncio.timeout(self._limits.seconds):
                result = await git(*command, environ=environment_for(origin))
        except TimeoutError:
            raise too_slow(f"The list of refs of {origin.url}", self._limits) from None
        if result.code:
            raise problems.error_of(result, origin)
        return {name: sha for sha, _, name in (line.partition("\t") for line in result.text.splitlines())}

    @asynccontextmanager
    async def checkout(self, key: str, origin: Origin, sha: str) -> AsyncIterator[Path]:
        async with self._checkout_folder() as parent:
            tree = parent / "tree"
            tree.mkdir()
            tree.chmod(0o755)  # it becomes an image's root; its parent is closed to other users
            with self._using(key) as mirror_of:
                mirror, what = mirror_of(None), f"Commit {sha[:12]} of {origin.url}"
                await mirror.ensure(origin, sha)
                async with bounded(parent, self._limits, what):
                    await Trees(self._limits, mirror_of).fill(
                        Tree(mirror, origin, sha, tree, parent), Budget(self._limits, what)
                    )
            yield tree

    async def read(self, key: str, origin: Origin, sha: str, path: str) -> bytes | None:
        with self._using(key) as mirror_of:
            mirror = mirror_of(None)
            await mirror.ensure(origin, sha)
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
                    hint="Reduce its size: this is the limit for the files that Stager itself reads.",
                    reason="source-too-large",
                )
            return (await mirror.run("cat-file", "blob", entry.object_id)).output

    async def sweep(self, keys: Iterable[str]) -> int:
        needed, in_use = {_name(key) for key in keys}, {_name(key) for key in +self._in_use}
        unneeded = [
            folder
            for folder in _entries(self._mirror_folders)
            if folder.name not in in_use and (folder.name not in needed or _is_fragmented(folder))
        ]
        unneeded += [f for f in _entries(self._checkouts) if f.name not in self._open_checkouts]
        # Renamed first, without an await: a fetch that starts while they are deleted creates new ones.
        moved = [path.rename(_to_delete(path)) for path in unneeded]
        self._mirrors = {p: mirror for p, mirror in self._mirrors.items() if p.parent not in unneeded}
        for path in moved:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        return len(moved)

    @contextmanager
    def _using(self, key: str) -> Iterator[Callable[[Origin | None], Mirror]]:
        """Protect a repository's mirrors from `sweep`. Yields a function that returns the mirror of a
        submodule, or for None the repository's own."""
        folder = self._mirror_folders / _name(key)

        def mirror_of(submodule: Origin | None) -> Mirror:
            path = folder / (f"{_submodule(submodule)}.git" if submodule else "own.git")
            return self._mirrors.setdefault(path, Mirror(path, self._limits))

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._in_use[key] += 1
        try:
            yield mirror_of
        finally:
            self._in_use[key] -= 1

    @asynccontextmanager
    async def _checkout_folder(self) -> AsyncIterator[Path]:
        """A temporary folder."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._checkouts.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._checkouts))
        self._open_checkouts.add(folder.name)
        try:
            yield folder
        finally:
            removal = asyncio.ensure_future(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
            removal.add_done_callback(lambda _: self._open_checkouts.discard(folder.name))
            await asyncio.shield(removal)


async def _found(mirror: Mirror, sha: str, path: str) -> Entry | None:
    """The entry at this path, of whatever kind; None where there is none."""
    plain = PurePosixPath(path)
    if path != str(plain) or plain.is_absolute() or not plain.parts or ".." in plain.parts or "\0" in path:
        return None
    entries = [entry async for entry in mirror.entries(sha, path)]
    return next((entry for entry in entries if entry.path == path), None)


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _submodule(origin: Origin) -> str:
    """The name of its mirror. Commits that were fetched with credentials aren't shared with untrusted
    changes."""
    return _name(f"{origin.url} for untrusted code" if origin.untrusted else origin.url)


def _to_delete(path: Path) -> Path:
    return path if path.suffix == ".gone" else path.with_name(f"{path.name}.gone")


def _is_fragmented(folder: Path) -> bool:
    return any(Mirror(path, Limits()).is_fragmented for path in _entries(folder))


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
