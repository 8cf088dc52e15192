"""Files of a commit that services mount, as archives for the engine."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from stager.domain.errors import Fault
from stager.domain.service import Mount, ServiceSpec
from stager.domain.text import binary_size
from stager.ports.engine import Content

MAX_CONTENT = 64 << 20
"""Bytes of the files of one mount. They are kept in memory while the instance is created."""


def contents_of(tree: Path, service: ServiceSpec) -> tuple[Content, ...]:
    """The contents of a service's mounts. Blocks.

    Args:
        tree: a folder with the commit's files.

    Raises:
        Fault: `content-missing`: the commit has no such file; `content-too-large`.
    """
    return tuple(_content_of(tree, service.name, mount) for mount in service.mounts if mount.content)


def _content_of(tree: Path, service: str, mount: Mount) -> Content:
    root = tree.resolve()
    source = (root / mount.content).resolve()
    if not source.is_relative_to(root) or not (source.is_file() or source.is_dir()):
        raise Fault(
            f'The service "{service}" mounts {mount.content}, which isn\'t a file or folder of the commit.',
            hint="Commit the file, or correct the path.",
            reason="content-missing",
        )
    files = list(_files(source))
    size = sum(path.lstat().st_size for path, _ in files)
    if size > MAX_CONTENT:
        raise Fault(
            f'The service "{service}" mounts {mount.content}, which has {binary_size(size)}; at most '
            f"{binary_size(MAX_CONTENT)} can be mounted.",
            hint="Copy the files into the image instead.",
            reason="content-too-large",
        )
    archive = _archive(files, mount.target)
    return Content(mount.target, hashlib.sha256(archive).hexdigest(), archive, is_folder=source.is_dir())


def _files(source: Path) -> Iterator[tuple[Path, str]]:
    """The files and folders below a folder with their relative paths, in order; or the file with no path."""
    if source.is_file():
        yield source, ""
        return
    for path in sorted(source.rglob("*")):
        if path.is_symlink() or path.is_file() or path.is_dir():
            yield path, str(path.relative_to(source))


def _archive(files: list[tuple[Path, str]], target: str) -> bytes:
    """A tar archive that depends on names, modes and contents only."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, name in files:
            entry = archive.gettarinfo(path, name or target.rpartition("/")[2])
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            if entry.isreg():
                with path.open("rb") as content:
                    archive.addfile(entry, content)
            else:
                archive.addfile(entry)
    return output.getvalue()
