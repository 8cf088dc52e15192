"""The live table's persistence.

The files are a snapshot (`table.json`) and a journal of the changes since then (`table.log`), so that a
change among 10,000 routes writes one line. Each change holds the new target of a host, so replaying one that
the snapshot already contains has no effect. The process can therefore be killed at any moment.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from stager.domain.route import RouteTable, table_from_wire, table_to_wire
from stager.front.table.live_table import LiveTable, changes_to_wire

_MAX_JOURNAL_BYTES = 1 << 20


class TableFile:
    """A live table with its snapshot and journal in a directory. Only one process at a time may write."""

    def __init__(self, directory: Path) -> None:
        self._snapshot = directory / "table.json"
        self._journal = directory / "table.log"
        self._file: IO[bytes] | None = None
        self._closed = True
        self._unsaved = False
        self._compacting: asyncio.Task[None] | None = None
        self._changed_meanwhile: list[bytes] = []
        self._followed: list[tuple[int, int, int]] = []
        self.live = LiveTable()
        self.problem = ""
        """A sentence that says why the table can't be saved; empty while it can."""

    def load(self) -> LiveTable:
        """Load the table from the files. Reading stops at the first torn or invalid line of the journal.

        Loading writes nothing, so a front can start on a full disk.
        """
        self.close()
        self.live, length = self._read()
        self._closed, self._unsaved, self.problem = False, False, ""
        try:
            self._file = self._journal.open("ab", buffering=0)
            if self._file.tell() > length:
                self._file.truncate(length)
        except OSError as error:
            self._fail(error, unsaved=True)
        return self.live

    def follow(self) -> bool:
        """Read what a successor has written since the file was closed; returns whether there is anything
        new."""
        stamp = [_stamp(path) for path in (self._snapshot, self._journal)]
        if stamp == self._followed:
            return False
        self._followed = stamp
        table, _ = self._read()
        self.live.change(changes_to_wire(self.live.value(), table.value()))
        return True

    def _read(self) -> tuple[LiveTable, int]:
        """The table in the files, and the length of the valid part of the journal."""
        table, length = LiveTable(_read_snapshot(self._snapshot)), 0
        for line in _read_lines(self._journal):
            if not line.endswith(b"\n") or not _replay(table, line):
                break
            length += len(line)
        return table, length

    def apply(self, table: RouteTable) -> None:
        """Replace the live table by `table`. Only the difference is written; nothing if there is none."""
        before = self.live.value()
        if table != before:
            self.change(changes_to_wire(before, table))

    def change(self, wire: Mapping[str, Any]) -> None:
        """Apply changes in memory and append them to the journal.

        The journal isn't synced to the disk: it must survive a crash of this process, not of the machine,
        which no container survives either. If writing fails, the new table is served nevertheless; `problem`
        has the reason, and `retry` saves it later.

        Raises:
            KeyError, ValueError, TypeError: as `LiveTable.change`.
            OSError: the file was closed.
        """
        if self._closed:
            raise OSError("the table is not open")
        self.live.change(wire)
        line = json.dumps(wire, separators=(",", ":")).encode() + b"\n"
        if self._compacting:
            self._changed_meanwhile.append(line)
        if self._file is not None and not self._unsaved:
            self._append(self._file, line)

    def _append(self, file: IO[bytes], line: bytes) -> None:
        begin = file.tell()
        try:
            _write_whole(file, line)
        except OSError as error:
            with suppress(OSError):
                file.truncate(begin)
            self._fail(error, unsaved=True)
            return
        if begin > _MAX_JOURNAL_BYTES and not self._compacting and not self.problem:
            self._compacting = asyncio.get_running_loop().create_task(self._compact())

    def retry(self) -> None:
        """Retry to save a table that couldn't be saved. Called periodically."""
        if self.problem and not self._closed and self._compacting is None:
            self._compacting = asyncio.get_running_loop().create_task(self._compact())

    def _fail(self, error: OSError, *, unsaved: bool) -> None:
        self._unsaved = self._unsaved or unsaved
        self.problem = f"The route table can't be saved: {error.strerror or error}."

    async def settle(self) -> None:
        """Wait for background writes, before another process may write."""
        if self._compacting:
            await asyncio.wait([self._compacting])

    def close(self) -> None:
        """Stop writing, as when a successor takes over the files."""
        self._closed = True
        if self._file is not None:
            self._file.close()
            self._file = None

    async def _compact(self) -> None:
        """Write a new snapshot, then reduce the journal to the changes that arrived meanwhile."""
        try:
            value = self.live.value()
            await asyncio.to_thread(lambda: _write(self._snapshot, _encode(value)))
            if not self._closed:
                self._replace_journal()
        except OSError as error:
            self._fail(error, unsaved=False)
        finally:
            self._changed_meanwhile = []
            self._compacting = None

    def _replace_journal(self) -> None:
        """Reduce the journal to the changes since the snapshot. If the new file can't be opened, the old one
        stays open, though it is no longer the journal: changes count as unsaved."""
        _write(self._journal, b"".join(self._changed_meanwhile))
        self._unsaved = True
        file = self._journal.open("ab", buffering=0)
        if self._file is not None:
            self._file.close()
        self._file = file
        self._unsaved, self.problem = False, ""


def _encode(table: RouteTable) -> bytes:
    return json.dumps(table_to_wire(table), separators=(",", ":")).encode()


def _read_snapshot(path: Path) -> RouteTable | None:
    """Read the snapshot; None if it is missing or invalid, so that the front starts nevertheless."""
    try:
        return table_from_wire(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes with the file; zeros if there is none."""
    try:
        state = path.stat()
    except OSError:
        return 0, 0, 0
    return state.st_ino, state.st_size, state.st_mtime_ns


def _read_lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines(keepends=True)
    except OSError:
        return []


def _replay(live: LiveTable, line: bytes) -> bool:
    """Apply a line of the journal; False for an invalid one. A line without `policies` is invalid: a version
    that wrote them in another form must not have its private previews served without them."""
    try:
        wire = json.loads(line)
        if "policies" not in wire:
            return False
        live.change(wire)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def _write_whole(file: IO[bytes], data: bytes) -> None:
    """Write to an unbuffered file, where a write may be short only when the disk is nearly full."""
    if file.write(data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _write(path: Path, data: bytes) -> None:
    """Replace a file atomically."""
    temporary = path.with_name(path.name + ".new")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
