"""The access log: one JSON line per request, written in batches once a second.

The query string is left out, because it may contain secrets.
"""

from __future__ import annotations

import time
from json.encoder import encode_basestring_ascii as quote
from pathlib import Path
from typing import IO

from stager.front.http.lru_cache import LruCache

_MAX_BUFFERED = 2000
_MILLISECONDS = [f".{number:03d}Z" for number in range(1000)]
_VERBS: LruCache[str] = LruCache(lambda method: quote(method.decode("latin-1")))
"""Methods as JSON."""


class AccessLog:
    """Appends to `path`. A file that grows beyond `max_bytes` is renamed to `path.1`, and a new one is
    started."""

    def __init__(self, path: Path | None, max_bytes: int = 64 << 20) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._buffered: list[str] = []
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
        """Add one request. The line is formatted here, because `json.dumps` is several times slower.

        Args:
            seconds: the duration.
            why: why the app's response was invalid; empty if it wasn't.
        """
        if self._file is None:
            return
        verb = _VERBS[method]
        path = str(quote(target.partition(b"?")[0].decode("utf-8", "replace")))
        request = str(quote(request_id.decode("latin-1")))
        more = f', "why": {quote(why)}' if why else ""
        tenths = int(seconds * 10_000 + 0.5)
        duration = f"{tenths // 10}.{tenths % 10}"
        now, peer, target_name = self._now(), str(quote(client)), str(quote(endpoint))
        # Without format specifications and calls, which mypyc would leave to `str.format`.
        self._buffered.append(
            f'{{"time": "{now}", "host": "{host}", "method": {verb}, "path": {path}, '
            f'"status": {status}, "bytes": {size}, "ms": {duration}, "client": {peer}, '
            f'"request_id": {request}, "endpoint": {target_name}, "outcome": "{outcome}"{more}}}\n'
        )
        if len(self._buffered) >= _MAX_BUFFERED:
            self.flush()

    def flush(self) -> None:
        """Write the buffered lines. On a full disk they are lost, but no request fails."""
        if self._file is None or not self._buffered:
            return
        lines, self._buffered = self._buffered, []
        try:
            self._file.write("".join(lines))
            self._file.flush()
            if self._file.tell() > self._max_bytes:
                self._rotate()
        except OSError:
            self.reopen()

    def reopen(self) -> None:
        """Reopen the path, after a log rotation."""
        self.close()
        if self._path is None:
            return
        try:
            self._file = self._path.open("a", encoding="utf-8", buffering=1 << 16)
        except OSError:
            self._file = None

    def close(self) -> None:
        """Write the buffered lines and close the file."""
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
        return self._stamp + _MILLISECONDS[int((now - second) * 1000)]
