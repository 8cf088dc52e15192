"""Git LFS: finds the pointers in a commit, and configures git to fetch their files."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from stager.domain.errors import Fault
from stager.git import Configuration, Result
from stager.ports.source import Origin
from stager.sources.mirror import Entry

LARGEST_POINTER = 1024
"""Bytes (git-lfs's specification, "The Pointer")."""

_BEGINS = b"version https://git-lfs.github.com/spec/"
_SIZE = b"size "


def may_use_lfs(folder: Path, entries: Iterable[Entry]) -> bool:
    """Whether a `.gitattributes` file of the commit mentions LFS.

    Args:
        folder: a checkout of the entries.
    """
    named = (e.path for e in entries if e.is_file and Path(e.path).name == ".gitattributes")
    return any(b"filter=lfs" in (folder / path).read_bytes() for path in named)


def lfs_paths(result: Result) -> set[str]:
    """The paths whose filter is LFS.

    Args:
        result: of `git check-attr -z filter`.
    """
    words = result.output.decode(errors="surrogateescape").split("\0")
    return {path for path, value in zip(words[0::3], words[2::3], strict=False) if value == "lfs"}


def pointed_size(file: Path) -> int | None:
    """The size in bytes of the file that a pointer refers to; None for what isn't a pointer."""
    content = file.read_bytes()
    if not content.startswith(_BEGINS):
        return None
    sizes = (line[len(_SIZE) :] for line in content.splitlines() if line.startswith(_SIZE))
    size = next(sizes, b"")
    return int(size) if size.isdigit() and len(size) < 20 else None


def check_installed() -> None:
    """Raises `Fault` (`lfs-missing`) where git-lfs isn't installed."""
    if shutil.which("git-lfs") is None:
        raise Fault(
            "This repository uses Git LFS, and git-lfs isn't installed.",
            hint="Install it on Stager's machine (on Debian and Ubuntu: apt-get install git-lfs).",
            reason="lfs-missing",
        )


def configuration(origin: Origin, storage: Path) -> Configuration:
    """The configuration with which git fetches LFS files. It overrides the commit's own `.lfsconfig`.

    Args:
        storage: a folder for the fetched files.
    """
    url = origin.url if urlsplit(origin.url).scheme else f"file://{origin.url}"
    return {
        "filter.lfs.process": "git-lfs filter-process",
        "filter.lfs.smudge": "git-lfs smudge -- %f",
        "filter.lfs.required": "true",
        "lfs.url": url if url.startswith("file://") else f"{url.removesuffix('/')}/info/lfs",
        "lfs.storage": str(storage),
        "lfs.concurrenttransfers": "4",
    }
