"""Readers of HTTP/1.1 that aren't ours: h11, which is strict, and careless ones, each with bad habits.

What the front passes on has to mean the same to all of them. A request that two of them read differently is
one that could be used to smuggle a second one past the front to an application that reads carelessly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import h11

_HEX = re.compile(rb"[\t ]*(?:0[xX])?([0-9A-Fa-f]+)")
_DECIMAL = re.compile(rb"[\t +]*([0-9]+)")


class Seen(NamedTuple):
    """A request that a reader found in what it was sent. `whole` says whether the body has ended."""

    method: bytes
    target: bytes
    body: bytes
    whole: bool


def read_strictly(data: bytes) -> tuple[list[Seen], bool]:
    """What h11 finds in what a server was sent on one connection, and whether it refused the rest."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    server.receive_data(data)
    found: list[Seen] = []
    try:
        while (event := server.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            match event:
                case h11.Request():
                    found.append(Seen(event.method, event.target, b"", whole=False))
                case h11.Data():
                    found[-1] = found[-1]._replace(body=found[-1].body + event.data)
                case h11.EndOfMessage():
                    found[-1] = found[-1]._replace(whole=True)
                    if not _next(server):
                        break
                case h11.ConnectionClosed():
                    break
    except h11.RemoteProtocolError:
        return found, True
    return found, False


def _next(server: h11.Connection) -> bool:
    """Answer, so that the server may read on; whether it may."""
    server.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
    server.send(h11.EndOfMessage())
    if server.our_state is not h11.DONE or server.their_state is not h11.DONE:
        return False
    server.start_next_cycle()
    return True


@dataclass(frozen=True, slots=True)
class CarelessReader:
    """Reads whatever it can make sense of, as servers in the field have done.

    Args:
        lf_ends_lines: a line feed alone ends a line, and two of them a head.
        length_wins: where there are both framings, `Content-Length` counts.
        last_wins: of several equal headers the last counts, or of several numbers in one.
        underscores: `Content_Length` is `Content-Length`, as CGI has it.
        loose_names: blanks before the colon, or before the name, are nothing.
    """

    lf_ends_lines: bool
    length_wins: bool
    last_wins: bool
    underscores: bool
    loose_names: bool

    def read(self, data: bytes) -> list[Seen]:
        """The requests on one connection."""
        found: list[Seen] = []
        while data := data.lstrip(b"\r\n"):
            head, data = self._head(data)
            if head is None:
                break
            first, *lines = head
            method, _, target = first.partition(b" ")
            body, data, whole = self._body(self._headers(lines), data)
            found.append(Seen(method, target.partition(b" ")[0], body, whole))
            if not whole:
                break
        return found

    def _head(self, data: bytes) -> tuple[list[bytes] | None, bytes]:
        ends = rb"\r?\n\r?\n" if self.lf_ends_lines else rb"\r\n\r\n"
        end = re.search(ends, data)
        if end is None:
            return None, b""
        lines = re.split(rb"\r?\n" if self.lf_ends_lines else rb"\r\n", data[: end.start()])
        return lines, data[end.end() :]

    def _headers(self, lines: list[bytes]) -> dict[bytes, list[bytes]]:
        headers: dict[bytes, list[bytes]] = {}
        for line in lines:
            name, _, value = line.partition(b":")
            name = name.lower()
            if self.loose_names:
                name = name.strip(b" \t\v\f\0")
            if self.underscores:
                name = name.replace(b"_", b"-")
            headers.setdefault(name, []).append(value.strip(b" \t\v\f\r\0"))
        return headers

    def _body(self, headers: dict[bytes, list[bytes]], data: bytes) -> tuple[bytes, bytes, bool]:
        which = -1 if self.last_wins else 0
        codings = b",".join(headers.get(b"transfer-encoding", ())).lower()
        lengths = b",".join(headers.get(b"content-length", ())).split(b",")
        length = _DECIMAL.match(lengths[which].strip())
        if b"chunked" in codings and not (length and self.length_wins):
            return self._chunks(data)
        size = int(length[1]) if length else 0
        return data[:size], data[size:], len(data) >= size

    def _chunks(self, data: bytes) -> tuple[bytes, bytes, bool]:
        body = b""
        while True:
            line, data = self._line(data)
            size = _HEX.match(line or b"")
            if size is None:
                return body, b"", False
            left = int(size[1], 16)
            if not left:
                break
            body += data[:left]
            _, data = self._line(data[left:])
        while line:
            line, data = self._line(data)
        return body, data, line is not None

    def _line(self, data: bytes) -> tuple[bytes | None, bytes]:
        """A line, None if it has no end; and what follows."""
        line, end, rest = data.partition(b"\n" if self.lf_ends_lines else b"\r\n")
        return (line.rstrip(b"\r"), rest) if end else (None, b"")


def panel() -> Iterator[CarelessReader]:
    """One of each kind."""
    return (CarelessReader(*habits) for habits in product((False, True), repeat=5))
