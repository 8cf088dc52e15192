"""The live table: what `stager.domain.route.RouteTable` says, ready to be asked on every request, and kept on
disk.

On disk are a snapshot (`table.json`) and a journal of the changes since (`table.log`), so that one change
among 10,000 routes costs one line. Each change says what a host leads to from now on, so replaying one that
the snapshot already has does no harm; that is what makes every moment a safe one to be killed in.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, get_args

from stager.domain.identity.access_policy import AccessPolicy, terms_from_wire, terms_to_wire
from stager.domain.route import (
    Changes,
    Endpoint,
    Page,
    PageState,
    RouteTable,
    Target,
    ports_from_wire,
    ports_to_wire,
    table_from_wire,
    table_to_wire,
    target_from_wire,
    target_to_wire,
)

_LONGEST_JOURNAL = 1 << 20


def changes_to_wire(changes: Changes, table: RouteTable) -> dict[str, Any]:
    """Changes as plain JSON types, with `domain` and `home` of the resulting `table` if they did."""
    wire: dict[str, Any] = {
        "upserts": {host: target_to_wire(target) for host, target in changes.upserts.items()},
        "deletes": sorted(changes.deletes),
        "ports": ports_to_wire(changes.ports),
        "terms": {host: terms_to_wire(terms) if terms else None for host, terms in changes.terms.items()},
    }
    if changes.frame:
        wire["domain"] = table.domain
        wire["home"] = target_to_wire(table.home) if table.home else None
    return wire


class LiveTable:
    """Answers where a host leads, and changes in place."""

    def __init__(self, table: RouteTable | None = None) -> None:
        self.routes: dict[str, Target] = {}
        self.ports: dict[int, str] = {}
        self.terms: dict[str, AccessPolicy] = {}
        self.domain = ""
        self.home: Endpoint | None = None
        self._suffix = ""
        if table is not None:
            self.routes = dict(table.routes)
            self.ports = dict(table.ports)
            self.terms = dict(table.terms)
            self._frame(table.domain, table.home)

    def __len__(self) -> int:
        return len(self.routes)

    def find(self, host: str) -> Target | None:
        """Where `host` leads; None when it was never heard of under the domain, or when there is no home."""
        target = self.routes.get(host)
        return self.home if target is None and self.is_home(host) else target

    def is_home(self, host: str) -> bool:
        """Whether `host` is Stager's own: neither a preview's nor under the domain of previews."""
        return host not in self.routes and not (self._suffix and host.endswith(self._suffix))

    def value(self) -> RouteTable:
        """The table as a value."""
        return RouteTable(dict(self.routes), self.domain, self.home, dict(self.ports), dict(self.terms))

    def change(self, wire: Mapping[str, Any]) -> None:
        """Make the changes that `changes_to_wire` wrote, or none. Raises KeyError, ValueError, TypeError."""
        upserts = {host: _target(target) for host, target in wire.get("upserts", {}).items()}
        deletes = list(wire.get("deletes", ()))
        ports = ports_from_wire(wire.get("ports", {}))
        terms = {host: terms_from_wire(t) if t else None for host, t in wire.get("terms", {}).items()}
        if "domain" in wire:
            home = target_from_wire(wire["home"]) if wire["home"] else None
            if home is not None and not isinstance(home, Endpoint):
                raise ValueError("home should be an endpoint, not a page")
            self._frame(str(wire["domain"]), home)
        self.routes.update(upserts)
        for host, changed in terms.items():
            if changed is None:
                self.terms.pop(host, None)
            else:
                self.terms[host] = changed
        for host in deletes:
            self.routes.pop(host, None)
            self.terms.pop(host, None)
        self.ports.update(ports)
        for port in [port for port, host in ports.items() if not host]:
            del self.ports[port]

    def _frame(self, domain: str, home: Endpoint | None) -> None:
        self.domain, self.home = domain, home
        self._suffix = "." + domain if domain else ""


class TableFile:
    """A live table together with its snapshot and journal in a directory, where one process may write."""

    def __init__(self, directory: Path) -> None:
        self._snapshot = directory / "table.json"
        self._journal = directory / "table.log"
        self._file: IO[bytes] | None = None
        self._closed = True
        self._unsaved = False
        self._compacting: asyncio.Task[None] | None = None
        self._since: list[bytes] = []
        self.live = LiveTable()
        self.trouble = ""
        """Why the table can't be saved, a sentence; empty while it can."""

    def load(self) -> LiveTable:
        """Read what is there, and go on with it. A torn or foreign line ends the reading.

        Nothing is written for that, so that a full disk keeps nobody from being served.
        """
        self.close()
        self.live = LiveTable(_read_snapshot(self._snapshot))
        length = 0
        for line in _read_lines(self._journal):
            if not line.endswith(b"\n") or not _replay(self.live, line):
                break
            length += len(line)
        self._closed, self._unsaved, self.trouble = False, False, ""
        try:
            self._file = self._journal.open("ab", buffering=0)
            if self._file.tell() > length:
                self._file.truncate(length)
        except OSError as error:
            self._fail(error, unsaved=True)
        return self.live

    def apply(self, table: RouteTable) -> None:
        """Make the live table `table`. Only the difference is written, and nothing when there is none."""
        changes = self.live.value().changes_to(table)
        if changes:
            self.change(changes_to_wire(changes, table))

    def change(self, wire: Mapping[str, Any]) -> None:
        """Make these changes, in memory and on disk. Raises as `LiveTable.change`, and OSError once closed.

        The journal isn't synced to the disk: it has to outlive this process, not the machine, whose
        containers wouldn't outlive it either. What can't be written is served all the same; `trouble` says
        why, and `retry` saves it later.
        """
        if self._closed:
            raise OSError("the table is not open")
        self.live.change(wire)
        line = json.dumps(wire, separators=(",", ":")).encode() + b"\n"
        if self._compacting:
            self._since.append(line)
        if not self._unsaved:
            self._append(line)

    def _append(self, line: bytes) -> None:
        assert self._file is not None  # noqa: S101 (else it is unsaved)
        begin = self._file.tell()
        try:
            _write_whole(self._file, line)
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(begin)
            self._fail(error, unsaved=True)
            return
        if begin > _LONGEST_JOURNAL and not self._compacting and not self.trouble:
            self._compacting = asyncio.get_running_loop().create_task(self._compact())

    def retry(self) -> None:
        """Try to save what couldn't be saved. Called now and then."""
        if self.trouble and not self._closed and self._compacting is None:
            self._compacting = asyncio.get_running_loop().create_task(self._compact())

    def _fail(self, error: OSError, *, unsaved: bool) -> None:
        self._unsaved = self._unsaved or unsaved
        self.trouble = f"The route table can't be saved: {error.strerror or error}."

    async def settle(self) -> None:
        """Wait until nothing is being written in the background, before another process may write."""
        if self._compacting:
            await asyncio.wait([self._compacting])

    def close(self) -> None:
        """Stop writing: somebody else does from now on, or nobody."""
        self._closed = True
        if self._file is not None:
            self._file.close()
            self._file = None

    async def _compact(self) -> None:
        """Write a new snapshot aside, then keep of the journal only what came meanwhile."""
        try:
            value = self.live.value()
            await asyncio.to_thread(lambda: _write(self._snapshot, _encode(value)))
            if not self._closed:
                _write(self._journal, b"".join(self._since))
                if self._file is not None:
                    self._file.close()
                self._file = self._journal.open("ab", buffering=0)
                self._unsaved, self.trouble = False, ""
        except OSError as error:
            self._fail(error, unsaved=False)
        finally:
            self._since = []
            self._compacting = None


def _target(wire: Mapping[str, Any]) -> Target:
    target = target_from_wire(wire)
    if isinstance(target, Page) and target.state not in get_args(PageState):
        raise ValueError(f"there is no page for {target.state!r}")
    return target


def _encode(table: RouteTable) -> bytes:
    return json.dumps(table_to_wire(table), separators=(",", ":")).encode()


def _read_snapshot(path: Path) -> RouteTable | None:
    """What the snapshot says; None when there is none or it isn't ours: serving must go on without it."""
    try:
        return table_from_wire(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines(keepends=True)
    except OSError:
        return []


def _replay(live: LiveTable, line: bytes) -> bool:
    try:
        live.change(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def _write_whole(file: IO[bytes], data: bytes) -> None:
    """Write to a file without a buffer, which may take a part only when the disk is nearly full."""
    if file.write(data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _write(path: Path, data: bytes) -> None:
    """Replace a file by a whole one or not at all."""
    aside = path.with_name(path.name + ".new")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
