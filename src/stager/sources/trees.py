"""Checks out a commit with its submodules and LFS files.

A commit's content is untrusted: sizes are checked before writing, git itself refuses paths that leave the
folder, and symbolic links aren't followed.
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
from stager.sources.mirror import SUBMODULE, Entry, Mirror, environment_for

Mirrors = Callable[[Origin], Mirror]
"""Returns the mirror of a submodule."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A commit and the folder that it is checked out into.

    Args:
        scratch: a folder for temporary files.
        depth: the nesting level; 0 for the commit itself.
    """

    mirror: Mirror
    origin: Origin
    sha: str
    folder: Path
    scratch: Path
    depth: int = 0

    @property
    def variables(self) -> dict[str, str]:
        return {"GIT_INDEX_FILE": str(self.scratch / f"index-{self.folder.name}-{self.depth}")}

    @property
    def work(self) -> tuple[str, str]:
        return ("--work-tree", str(self.folder))


class Trees:
    """Checks out trees.

    Args:
        mirrors: returns the mirrors of submodules.
    """

    def __init__(self, limits: Limits, mirrors: Mirrors) -> None:
        self._limits = limits
        self._mirrors = mirrors

    async def fill(self, tree: Tree, budget: Budget) -> None:
        """Write the commit's files. Raises what `stager.ports.source.Sources` does."""
        entries = [entry async for entry in _within_budget(tree.mirror.entries(tree.sha), budget)]
        await tree.mirror.run("read-tree", tree.sha, variables=tree.variables)
        await tree.mirror.run(*tree.work, "checkout-index", "--all", "--quiet", variables=tree.variables)
        if self._limits.lfs and lfs.may_use_lfs(tree.folder, entries):
            await self._replace_pointers(tree, entries, budget)
        commits = {entry.path: entry.object_id for entry in entries if entry.mode == SUBMODULE}
        if self._limits.submodules and commits:
            await self._fill_submodules(tree, commits, budget)

    async def _replace_pointers(self, tree: Tree, entries: list[Entry], budget: Budget) -> None:
        small = [e.path for e in entries if e.is_file and e.size <= lfs.LARGEST_POINTER]
        result = await tree.mirror.run(
            *tree.work, "check-attr", "-z", "--cached", "--stdin", "filter",
            input_=_joined(small), variables=tree.variables,
        )  # fmt: skip
        paths = lfs.lfs_paths(result)
        sizes = {path: lfs.pointed_size(tree.folder / path) for path in small if path in paths}
        pointers = [path for path, size in sizes.items() if size is not None]
        if not pointers:
            return
        lfs.check_installed()
        budget.take(sum(size or 0 for size in sizes.values()))
        await self._fetch_lfs_files(tree, pointers)

    async def _fetch_lfs_files(self, tree: Tree, pointers: list[str]) -> None:
        configuration = lfs.configuration(tree.origin, tree.scratch / "lfs")
        environ = environment_for(tree.origin, configuration) | tree.variables
        result = await git(
            "--git-dir", tree.mirror.path, *tree.work, "checkout-index", "--force", "-z", "--stdin",
            environ=environ, input_=_joined(pointers), cwd=tree.folder,
        )  # fmt: skip
        if result.code:
            raise problems.error_of(result, tree.origin)

    async def _fill_submodules(self, tree: Tree, commits: dict[str, str], budget: Budget) -> None:
        urls = await self._urls(tree)
        for path, sha in commits.items():
            if tree.depth == submodules.DEEPEST:
                raise submodules.too_deep(path)
            origin = submodules.origin_of(path, urls, tree.origin)
            mirror = self._mirrors(origin)
            await mirror.ensure(origin, sha)
            folder = _submodule_folder(tree.folder, path)
            scratch = tree.scratch / f"submodule-{len(list(tree.scratch.iterdir()))}"
            scratch.mkdir()
            await self.fill(Tree(mirror, origin, sha, folder, scratch, tree.depth + 1), budget)

    async def _urls(self, tree: Tree) -> dict[str, str]:
        result = await git(
            "--git-dir", tree.mirror.path, "config", "--blob", f"{tree.sha}:.gitmodules", "--list", "-z",
            environ=environment(),
        )  # fmt: skip
        return submodules.urls_by_path(result)


async def _within_budget(entries: AsyncIterator[Entry], budget: Budget) -> AsyncIterator[Entry]:
    async for entry in entries:
        budget.take(max(entry.size, BLOCK))
        yield entry


def _joined(paths: list[str]) -> bytes:
    return b"".join(path.encode(errors="surrogateescape") + b"\0" for path in paths)


def _submodule_folder(folder: Path, path: str) -> Path:
    """The submodule's folder, which the checkout has created. Raises `Fault` when a link points elsewhere."""
    found = folder / path
    if not found.is_dir() or found.resolve() != folder.resolve() / path:
        raise Fault(
            f"The submodule {path[:200]} isn't fetched: its path isn't a plain folder.",
            hint="Check whether the commit has a file or a link at that path.",
            reason="submodule-refused",
        )
    return found
