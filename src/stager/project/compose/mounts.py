"""Reads `volumes`, `tmpfs`, `secrets` and `configs` of a service."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import NamedTuple

from stager.domain.service import Mount
from stager.project.compose.findings import Findings
from stager.project.compose.keys import LEAVE_OUT, MOUNT
from stager.project.compose.value import Value
from stager.project.tree import Tree

MAX_MOUNTS = 100
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
PLACEHOLDERS = frozenset({".gitkeep", ".keep", ".gitignore", ".placeholder", "README.md"})
"""Files by which a folder without content is committed."""

_MODES = frozenset(
    {
        *("ro", "rw", "z", "Z", "cached", "delegated", "consistent", "nocopy", "copy", "default"),
        *("rprivate", "private", "rshared", "shared", "rslave", "slave", "rbind", "bind"),
    }
)
_FILE = re.compile(r"[^/]+\.[A-Za-z]{2,10}|[^/]*\.d")
_SOCKET = re.compile(r".*(docker|containerd|podman|crio)[^/]*\.sock.*")


class Entry(NamedTuple):
    """A mount, and the value that it is read from."""

    mount: Mount
    value: Value
    is_temporary: bool = False
    """Whether it is an empty file system in memory."""


class MountReader:
    """Reads the mounts of services.

    Args:
        volumes: the named volumes that the file declares.
    """

    def __init__(self, tree: Tree, volumes: Collection[str], findings: Findings) -> None:
        self._tree = tree
        self._volumes = volumes
        self._findings = findings

    def read(self, value: Value) -> tuple[Entry, ...]:
        """Return the entries of `volumes`. Those that can't be read are recorded."""
        items = value.items("`volumes`")
        if len(items) > MAX_MOUNTS:
            raise value.refuse(f"A service has more than {MAX_MOUNTS} volumes.")
        return tuple(self._entries(items))

    def _entries(self, items: list[Value]) -> Iterator[Entry]:
        for item in items:
            found = self._findings.attempt(None, self._entry, item)
            if found is not None:
                yield found

    def _entry(self, item: Value) -> Entry:
        return self._long(item) if isinstance(item.data, dict) else self._short(item)

    def _short(self, item: Value) -> Entry:
        parts = item.text("An entry of `volumes`").split(":")
        if len(parts) == 1:
            return Entry(Mount(target(item, parts[0])), item)
        source, path, *modes = parts
        words = [word for mode in modes for word in mode.split(",")]
        if len(modes) > 1 or not set(words) <= _MODES:
            raise item.refuse(
                f"{':'.join(parts)[:80]!r} isn't a volume.", "Write it like `data:/var/lib/data`."
            )
        mount = Mount(target(item, path), is_read_only="ro" in words)
        return Entry(self._with_source(item, source, mount), item)

    def _long(self, item: Value) -> Entry:
        given = item.mapping("An entry of `volumes`")
        self._findings.check(MOUNT, given)
        kind = given["type"].text("`type`") if "type" in given else "volume"
        if "target" not in given or kind not in ("volume", "bind", "tmpfs"):
            raise item.refuse("A volume needs a `target`, and `volume`, `bind` or `tmpfs` as `type`.")
        read_only = "read_only" in given and given["read_only"].flag("`read_only`")
        mount = Mount(target(item, given["target"].text("`target`")), is_read_only=read_only)
        source = given["source"].text("`source`") if "source" in given else ""
        if kind == "tmpfs" or not source:
            if kind == "bind":
                raise item.refuse("A `bind` needs a `source`.")
            return Entry(mount, item, is_temporary=kind == "tmpfs")
        if kind == "bind":
            return Entry(self._content(item, source, mount), item)
        return Entry(self._named(item, source, mount), item)

    def _with_source(self, item: Value, source: str, mount: Mount) -> Mount:
        is_path = source.startswith((".", "/", "~", "\\")) or "\\" in source
        return self._content(item, source, mount) if is_path else self._named(item, source, mount)

    def _named(self, item: Value, source: str, mount: Mount) -> Mount:
        if not VOLUME_NAME.fullmatch(source):
            raise item.refuse(f"{source[:80]!r} isn't the name of a volume.", "Begin a path with `./`.")
        if source not in self._volumes:
            raise item.refuse(f"The volume {source!r} isn't declared.", "Add it to `volumes` of the file.")
        return replace(mount, volume=source)

    def _content(self, item: Value, source: str, mount: Mount) -> Mount:
        """A mount of a file or folder of the repository, or of a volume instead of a folder for data."""
        if _SOCKET.fullmatch(source):
            raise item.refuse("A preview can't mount the socket of a container engine.", LEAVE_OUT)
        if source.startswith(("/", "~")) or "\\" in source:
            raise item.refuse(
                f"{source[:80]!r} is a path on the server, which previews can't mount.",
                f"Use a named volume instead. {LEAVE_OUT}",
            )
        path = item.with_data(source).path("The source of the volume")
        if self._tree.has(path) or (self._tree.has_folder(path) and not self._is_for_data(path)):
            return replace(mount, content=path)
        if self._tree.is_link_out(path):
            raise item.refuse(
                f"{source[:80]!r} is a symbolic link out of the repository.", "Replace it by a file."
            )
        if not self._tree.has_folder(path) and _FILE.fullmatch(posixpath.basename(path)):
            raise item.refuse(f"There is no file {path} in the repository.", f"Commit it. {LEAVE_OUT}")
        name = re.sub(r"[^a-zA-Z0-9]+", "-", path).strip("-") or "data"
        self._findings.guess(
            item.place, f"{source} has no files in the repository; it is a volume of the preview."
        )
        return replace(mount, volume=name)

    def _is_for_data(self, path: str) -> bool:
        """Whether a folder has no files but those by which git keeps it."""
        return set(self._tree.below(path).files) <= PLACEHOLDERS


def target(item: Value, text: str) -> str:
    """Return a path inside the container. Raises `Refused`."""
    if not text.startswith("/") or not text.isprintable() or posixpath.normpath(text) in ("/", "//"):
        raise item.refuse(f"{text[:80]!r} isn't an absolute path inside the container.")
    return "/" + posixpath.normpath(text).lstrip("/")
