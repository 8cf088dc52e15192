"""The access log: one JSON line a request, written together once a second.

The query string is left out, because that is where secrets travel.
"""

from __future__ import annotations

import time
from json.encoder import encode_basestring_ascii as quote
from pathlib import Path
from typing import IO

_MOST_WAITING = 2000


class AccessLog:
    """Appends to `path`; when that grows beyond `most_bytes`, it becomes `path.1` and a new one is begun."""

    def __init__(self, path: Path | None, most_bytes: int = 64 << 20) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._waiting: list[str] = []
        self._file: IO[str] | None = None
        self._second = 0
        self._stamp = ""
        self.reopen()

    def add(  # noqa: PLR0913 (the fields of a line; a value object would cost time at each request)
        self,
        *,
        host: str,
        method: bytes,
        target: bytes,
        status: int,
        size: int,
        seconds: float,
        client: str,
        request_id: bytes,
        endpoint: str,
        outcome: str,
        why: str = "",
    ) -> None:
        """Note one request. The line is put together by hand: `json.dumps` would cost too much.

        Args:
            why: why the app's answer was refused; empty when it wasn't.
        """
        if self._file is None:
            return
        verb = quote(method.decode("latin-1"))
        path = quote(target.partition(b"?")[0].decode("utf-8", "replace"))
        request = quote(request_id.decode("latin-1"))
        more = f', "why": {quote(why)}' if why else ""
        self._waiting.append(
            f'{{"time": "{self._now()}", "host": "{host}", "method": {verb}, "path": {path}, '
            f'"status": {status}, "bytes": {size}, "ms": {seconds * 1000:.1f}, "client": {quote(client)}, '
            f'"request_id": {request}, "endpoint": {quote(endpoint)}, "outcome": "{outcome}"{more}}}\n'
        )
        if len(self._waiting) >= _MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write what waits. A full disk costs lines of the log, never a request."""
        if self._file is None or not self._waiting:
            return
        lines, self._waiting = self._waiting, []
        try:
            self._file.write("".join(lines))
            self._file.flush()
            if self._file.tell() > self._most_bytes:
                self._rotate()
        except OSError:
            self.reopen()

    def reopen(self) -> None:
        """Begin again at the path, which somebody else may have moved away."""
        self.close()
        if self._path is None:
            return
        try:
            self._file = self._path.open("a", encoding="utf-8", buffering=1 << 16)
        except OSError:
            self._file = None

    def close(self) -> None:
        """Write what waits, and stop."""
        if self._file is not None:
            file = self._file
            self.flush()
            self._file = None
            try:
                file.close()
            except OSError:
                return

    def _rotate(self) -> None:
        if self._path is not None:
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self.reopen()

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((now - second) * 1000):03d}Z"
