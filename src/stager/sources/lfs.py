"""What Git LFS keeps elsewhere: which files of a commit are only pointers to it, and how they are had."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from stager.domain.errors import Fault
from stager.git import Configuration, Done
from stager.ports.source import Origin
from stager.sources.mirror import Entry

LARGEST_POINTER = 1024
"""Bytes (git-lfs's specification, "The Pointer")."""

_BEGINS = b"version https://git-lfs.github.com/spec/"
_SIZE = b"size "


def may_have_some(folder: Path, entries: Iterable[Entry]) -> bool:
    """Whether a `.gitattributes` of the commit names LFS.

    Args:
        folder: a checkout with the entries in it.
    """
    named = (e.path for e in entries if e.is_file and Path(e.path).name == ".gitattributes")
    return any(b"filter=lfs" in (folder / path).read_bytes() for path in named)


def kept_by_lfs(done: Done) -> set[str]:
    """The paths whose filter is LFS.

    Args:
        done: `git check-attr -z filter` of them.
    """
    words = done.output.decode(errors="surrogateescape").split("\0")
    return {path for path, value in zip(words[0::3], words[2::3], strict=False) if value == "lfs"}


def size_of_pointed(file: Path) -> int | None:
    """The bytes of what a pointer points to; None for what isn't a pointer."""
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
            "This repository keeps files in Git LFS, and git-lfs isn't installed here.",
            hint="Install it where Stager runs (on Debian and Ubuntu: apt-get install git-lfs).",
            reason="lfs-missing",
        )


def configuration(origin: Origin, storage: Path) -> Configuration:
    """What makes git fetch what pointers point to. The commit's own `.lfsconfig` has no say.

    Args:
        storage: a folder for what is fetched.
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
