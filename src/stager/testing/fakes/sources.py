"""In-memory repositories with fault modes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from stager.domain.errors import Fault, Retry
from stager.domain.pull_requests.git_refs import BRANCHES, TAGS, full_names
from stager.domain.source import is_commit_id
from stager.ports.source import Origin, Sources

SLOW_SECONDS = 10.0
LARGEST_FILE = 1024 * 1024
"""Maximum size in bytes of a file that `read` returns."""


class SourceFaultMode(Enum):
    """How the repositories' hosts answer."""

    WELL = auto()
    SLOW = auto()
    """After `SLOW_SECONDS`."""
    NEVER = auto()
    AWAY = auto()
    """They are unreachable."""
    REFUSING = auto()
    """They reject the credentials."""
    LARGE = auto()
    """The size limit is exceeded."""
    TOO_SLOW = auto()
    """The time limit is exceeded."""


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link among a commit's files."""

    target: str


Files = Mapping[str, str | bytes | Link]
"""A commit's files by path."""


class FakeSources(Sources):
    """See `stager.ports.source`.

    Args:
        everywhere: the files of all commits that weren't added; None: there are no others.

    Attributes:
        fault_mode: how it answers.
        fetched: key and id of each fetched commit, in order; a commit is fetched once.
        folders: the open checkouts.
    """

    def __init__(self, everywhere: Files | None = None) -> None:
        self.fault_mode = SourceFaultMode.WELL
        self.fetched: list[tuple[str, str]] = []
        self.folders: set[Path] = set()
        self._everywhere = everywhere
        self._commits: dict[tuple[str, str], Files] = {}
        self._refs: dict[tuple[str, str], str] = {}
        self._mirrors: dict[str, dict[str, Files]] = {}

    # Called by tests.

    def add(self, url: str, sha: str, files: Files, *refs: str) -> None:
        """Push a commit to the repository with this URL.

        Args:
            refs: full names, such as `refs/heads/main`, that now point to it.
        """
        self._commits[url, sha] = files
        self._refs.update({(url, ref): sha for ref in refs})

    def remove(self, url: str, *refs: str) -> None:
        """Delete these refs."""
        for ref in refs:
            del self._refs[url, ref]

    # The port.

    async def resolve(self, origin: Origin, name: str) -> str:
        await self._turn()
        tips = {
            ref: sha
            for (url, ref), sha in self._refs.items()
            if url == origin.url and ref.startswith((BRANCHES, TAGS))
        }
        if is_commit_id(name) and name in tips.values():
            return name
        found = next((tips[ref] for ref in full_names(name) if ref in tips), None)
        if found is None:
            reason = "commit-not-a-tip" if is_commit_id(name) else "ref-missing"
            raise Fault(f"There is no {name} in {origin.url}.", reason=reason)
        return found

    @asynccontextmanager
    async def checkout(self, key: str, origin: Origin, sha: str) -> AsyncIterator[Path]:
        files = await self._fetched(key, origin, sha)
        with tempfile.TemporaryDirectory(prefix="stager-fake-") as name:
            folder = Path(name)
            _write(folder, files)
            self.folders.add(folder)
            try:
                yield folder
            finally:
                self.folders.discard(folder)

    async def read(self, key: str, origin: Origin, sha: str, path: str) -> bytes | None:
        files = await self._fetched(key, origin, sha)
        content = files.get(path)
        if isinstance(content, Link) or any(name.startswith(f"{path}/") for name in files):
            raise Fault(f"{path} is a symbolic link or a folder.", reason="not-a-plain-file")
        if content is None:
            return None
        data = _bytes(content)
        if len(data) > LARGEST_FILE:
            raise Fault(f"{path} is larger than 1 MB.", reason="source-too-large")
        return data

    async def sweep(self, keys: Iterable[str]) -> int:
        gone = self._mirrors.keys() - set(keys)
        for key in gone:
            del self._mirrors[key]
        return len(gone)

    async def _fetched(self, key: str, origin: Origin, sha: str) -> Files:
        mirror = self._mirrors.setdefault(key, {})
        if sha not in mirror:
            await self._turn()
            files = self._commits.get((origin.url, sha), self._everywhere)
            if files is None:
                raise Fault(f"There is no commit {sha} in {origin.url}.", reason="commit-missing")
            self.fetched.append((key, sha))
            mirror[sha] = files
        return mirror[sha]

    async def _turn(self) -> None:
        if self.fault_mode is SourceFaultMode.NEVER:
            await asyncio.Event().wait()
        await asyncio.sleep(SLOW_SECONDS if self.fault_mode is SourceFaultMode.SLOW else 0)
        match self.fault_mode:
            case SourceFaultMode.AWAY:
                raise Retry("The repository's host doesn't answer.", reason="source-away")
            case SourceFaultMode.REFUSING:
                raise Fault("The repository's host refuses the credentials.", reason="source-refused")
            case SourceFaultMode.LARGE:
                raise Fault("The commit is over the limit of size.", reason="source-too-large")
            case SourceFaultMode.TOO_SLOW:
                raise Fault("Fetching the commit took too long.", reason="source-too-slow")


def _write(folder: Path, files: Files) -> None:
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            place.symlink_to(content.target)
        else:
            place.write_bytes(_bytes(content))


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
