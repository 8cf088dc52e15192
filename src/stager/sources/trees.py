"""Fills a folder with the files of a commit: its own, those of its submodules, and what LFS keeps elsewhere.

Everything in a commit is its author's: its size is known before it is written, git itself refuses paths that
lead out of the folder, and no symbolic link is followed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from stager.domain.errors import Fault
from stager.git import environment, git
from stager.ports.source import Origin
from stager.sources import lfs, problems, submodules
from stager.sources.limits import BLOCK, Budget, Limits
from stager.sources.mirror import SUBMODULE, Entry, Mirror, reaching

Mirrors = Callable[[Origin], Mirror]
"""The mirror of a submodule."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One commit, and where it goes.

    Args:
        room: a folder for what it takes besides.
        depth: how many commits this one is a submodule of.
    """

    mirror: Mirror
    origin: Origin
    sha: str
    folder: Path
    room: Path
    depth: int = 0

    @property
    def variables(self) -> dict[str, str]:
        return {"GIT_INDEX_FILE": str(self.room / f"index-{self.folder.name}-{self.depth}")}

    @property
    def work(self) -> tuple[str, str]:
        return ("--work-tree", str(self.folder))


class Trees:
    """Fills folders.

    Args:
        mirrors: gives the mirrors of submodules.
    """

    def __init__(self, limits: Limits, mirrors: Mirrors) -> None:
        self._limits = limits
        self._mirrors = mirrors

    async def fill(self, tree: Tree, budget: Budget) -> None:
        """Write the commit's files. Raises as `stager.ports.source.Sources` does."""
        entries = [entry async for entry in _afforded(tree.mirror.entries(tree.sha), budget)]
        await tree.mirror.run("read-tree", tree.sha, variables=tree.variables)
        await tree.mirror.run(*tree.work, "checkout-index", "--all", "--quiet", variables=tree.variables)
        if self._limits.lfs and lfs.may_have_some(tree.folder, entries):
            await self._replace_pointers(tree, entries, budget)
        commits = {entry.path: entry.object_id for entry in entries if entry.mode == SUBMODULE}
        if self._limits.submodules and commits:
            await self._fill_submodules(tree, commits, budget)

    async def _replace_pointers(self, tree: Tree, entries: list[Entry], budget: Budget) -> None:
        small = [e.path for e in entries if e.is_file and e.size <= lfs.LARGEST_POINTER]
        done = await tree.mirror.run(
            *tree.work, "check-attr", "-z", "--cached", "--stdin", "filter",
            given=_listed(small), variables=tree.variables,
        )  # fmt: skip
        kept = lfs.kept_by_lfs(done)
        sizes = {path: lfs.size_of_pointed(tree.folder / path) for path in small if path in kept}
        pointers = [path for path, size in sizes.items() if size is not None]
        if not pointers:
            return
        lfs.check_installed()
        budget.take(sum(size or 0 for size in sizes.values()))
        await self._fetch_pointed(tree, pointers)

    async def _fetch_pointed(self, tree: Tree, pointers: list[str]) -> None:
        configuration = lfs.configuration(tree.origin, tree.room / "lfs")
        environ = reaching(tree.origin, configuration) | tree.variables
        done = await git(
            "--git-dir", tree.mirror.path, *tree.work, "checkout-index", "--force", "-z", "--stdin",
            environ=environ, given=_listed(pointers), cwd=tree.folder,
        )  # fmt: skip
        if done.code:
            raise problems.ending_of(done, tree.origin)

    async def _fill_submodules(self, tree: Tree, commits: dict[str, str], budget: Budget) -> None:
        urls = await self._urls(tree)
        for path, sha in commits.items():
            if tree.depth == submodules.DEEPEST:
                raise submodules.too_deep(path)
            origin = submodules.origin_of(path, urls, tree.origin)
            mirror = self._mirrors(origin)
            await mirror.have(origin, sha)
            folder = _within(tree.folder, path)
            room = tree.room / f"within-{len(list(tree.room.iterdir()))}"
            room.mkdir()
            await self.fill(Tree(mirror, origin, sha, folder, room, tree.depth + 1), budget)

    async def _urls(self, tree: Tree) -> dict[str, str]:
        done = await git(
            "--git-dir", tree.mirror.path, "config", "--blob", f"{tree.sha}:.gitmodules", "--list", "-z",
            environ=environment(),
        )  # fmt: skip
        return submodules.declared(done)


async def _afforded(entries: AsyncIterator[Entry], budget: Budget) -> AsyncIterator[Entry]:
    async for entry in entries:
        budget.take(max(entry.size, BLOCK))
        yield entry


def _listed(paths: list[str]) -> bytes:
    return b"".join(path.encode(errors="surrogateescape") + b"\0" for path in paths)


def _within(folder: Path, path: str) -> Path:
    """The submodule's place, which the checkout has made. Raises `Fault` when a link leads elsewhere."""
    place = folder / path
    if not place.is_dir() or place.resolve() != folder.resolve() / path:
        raise Fault(
            f"The submodule {path[:200]} isn't fetched: its place isn't a folder of its own.",
            hint="Is there a file or a link of that name in the commit?",
            reason="submodule-refused",
        )
    return place
