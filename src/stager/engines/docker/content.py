"""Copies files of the commit into a created container by Docker's archive call, which resolves links inside
the container's file system."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath

import aiodocker

from stager.domain.errors import Fault
from stager.engines.docker.client import engine_errors, request
from stager.engines.docker.create_parameters import cleaned
from stager.engines.docker.files import archive_of
from stager.ports.engine import Content

READ_ONLY = "read-only"
"""Part of Docker's 500 answer for a target in a read-only file system."""

FOLDER_MODE, FILE_MODE, PROGRAM_MODE = 0o755, 0o644, 0o755


async def copy_content(docker: aiodocker.Docker, container: str, content: Content) -> None:
    """Copy files into a container that doesn't run.

    Raises:
        Fault: `content-refused`: Docker doesn't copy them, or the archive has other entries than files,
            folders and symbolic links.
        Retry: the engine doesn't answer.
    """
    target = cleaned(content.target)
    with engine_errors():
        try:
            if content.is_folder:
                await _put(docker, container, target, _rewritten(content, ""))
            else:
                folder = await _existing(docker, container, posixpath.dirname(target))
                path = str(PurePosixPath(target).relative_to(folder))
                await _put(docker, container, folder, _rewritten(content, path))
        except aiodocker.DockerError as error:
            if error.status >= 500 and READ_ONLY not in error.message:
                raise
            raise _refused(content, error.message) from error


async def _existing(docker: aiodocker.Docker, container: str, path: str) -> str:
    """The deepest folder on the way to this path that the container has."""
    # Without the dot, a link to a missing folder would exist.
    while path != "/" and await archive_of(docker, container, f"{path}/.", 1) is None:
        path = posixpath.dirname(path)
    return path


async def _put(docker: aiodocker.Docker, container: str, folder: str, archive: bytes) -> None:
    async with request(  # aiodocker's own method sends the archive as JSON
        docker,
        f"containers/{container}/archive",
        "PUT",
        params={"path": folder},
        data=archive,
        headers={"Content-Type": "application/x-tar"},
    ):
        pass


def _rewritten(content: Content, path: str) -> bytes:
    """The archive with checked entries that belong to root.

    Args:
        path: the name of the only file, in folders that are missing; empty for a folder's archive.
    """
    rewritten = io.BytesIO()
    try:
        with (
            tarfile.open(fileobj=io.BytesIO(content.archive), mode="r:") as source,
            tarfile.open(fileobj=rewritten, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for parent in _parents(path):
                archive.addfile(_folder(parent))
            for name, entry in _entries(content, source, path):
                data = source.extractfile(entry) if entry.isfile() else None
                archive.addfile(_plain(name, entry, cleaned(content.target)), data)
    except tarfile.TarError as error:
        raise _refused(content, str(error)) from error
    return rewritten.getvalue()


def _parents(path: str) -> list[str]:
    return [str(parent) for parent in reversed(PurePosixPath(path).parents) if parent.name]


def _entries(content: Content, source: tarfile.TarFile, path: str) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """The entries with their checked names. Nothing is below a link."""
    links: set[PurePosixPath] = set()
    for entry in source:
        name = PurePosixPath(path or entry.name)
        is_link = entry.issym() and not path
        is_known = entry.isfile() or (entry.isdir() and not path) or is_link
        if not is_known or _leaves(name) or links & {name, *name.parents}:
            raise _refused(content, f"It has the entry {entry.name!r}.")
        if is_link:
            links.add(name)
        if name.name:
            yield str(name), entry


def _leaves(path: PurePosixPath) -> bool:
    """Whether a path is outside the archive's folder."""
    normal = posixpath.normpath(path)
    return path.is_absolute() or normal == ".." or normal.startswith("../")


def _plain(name: str, entry: tarfile.TarInfo, target: str) -> tarfile.TarInfo:
    if entry.isdir():
        return _folder(name)
    plain = tarfile.TarInfo(name)
    plain.mtime = entry.mtime
    if entry.issym():
        link = PurePosixPath(name).parent / entry.linkname
        # Docker refuses relative links out of the folder, so they become absolute.
        leads_out = _leaves(link) and not link.is_absolute()
        absolute = posixpath.normpath(PurePosixPath(target) / link)
        plain.type, plain.linkname = tarfile.SYMTYPE, absolute if leads_out else entry.linkname
    else:
        plain.size = entry.size
        plain.mode = PROGRAM_MODE if entry.mode & 0o111 else FILE_MODE
    return plain


def _folder(name: str) -> tarfile.TarInfo:
    folder = tarfile.TarInfo(name)
    folder.type, folder.mode = tarfile.DIRTYPE, FOLDER_MODE
    return folder


def _refused(content: Content, why: str) -> Fault:
    return Fault(
        f"The files of the commit for {content.target[:200]} can't be copied into the container.",
        hint="Files are copied, not mounted: their target must be in a writable file system.",
        reason="content-refused",
        detail=why,
    )
