"""Listening sockets: made, inherited, and handed from one process to the next.

There is one listening socket for each address, and every front has that same one. Whoever holds it keeps its
queue: as long as any process does, a client that connects waits, and is not refused.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["plain", "tls"]

BACKLOG = 4096
_LONGEST_PATH = 100


class SocketError(Exception):
    """A socket that can't be had. Its words are for whoever started the front."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket, and what is spoken on it."""

    kind: Kind
    address: str
    socket: socket.socket


def listen(kind: Kind, address: str) -> Listener:
    """A new listening socket at `HOST:PORT`. Raises SocketError."""
    _, port = split_address(address)
    family, place = _place(address)
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise SocketError(f"Can't listen on {address}: {error.strerror}. Choose another address.") from error
    try:
        # Not SO_REUSEPORT: two processes with a queue each would lose the connections in the queue that
        # closes.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by every connection, so that clients that vanished without a word are noticed.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.bind(place)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise SocketError(_words(address, port, error)) from error
    return Listener(kind, address_of(sock), sock)


def adopt(kind: Kind, fd: int) -> Listener:
    """A listening socket inherited from the parent process. Raises SocketError."""
    try:
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        sock.set_inheritable(False)
    except OSError as error:
        raise SocketError(f"File descriptor {fd} is no listening socket: {error.strerror}.") from error
    return Listener(kind, address_of(sock), sock)


def is_at(listener: Listener, address: str) -> bool:
    """Whether it listens at `HOST:PORT`, however that is written; port 0 is any. Raises SocketError."""
    _, (host, port, *_) = _place(address)
    return listener.socket.getsockname()[0] == host and port in (0, listener.socket.getsockname()[1])


def address_of(sock: socket.socket) -> str:
    """Where a socket listens, as `HOST:PORT`, with the port that the system chose where it was asked to."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _place(address: str) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    host, port = split_address(address)
    try:
        family, _, _, _, place = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise SocketError(f"Can't listen on {address}: {error.strerror}. Choose another address.") from error
    return family, place


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[V6]:PORT` or `:PORT`. Raises SocketError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise SocketError(f"{address!r} is no address to listen on: it should be HOST:PORT.")
    return host.removeprefix("[").removesuffix("]"), int(port)


class PathListener:
    """A listening Unix socket for its owner only, in place of whatever is at `path`. Raises SocketError."""

    def __init__(self, path: Path) -> None:
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise SocketError(f"{path} is too long for a socket: choose a shorter state directory.")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path = path
        aside = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            aside.unlink(missing_ok=True)
            self.socket.bind(str(aside))
            aside.chmod(stat.S_IRUSR | stat.S_IWUSR)
            self._inode = aside.stat().st_ino
            self.socket.listen(64)
            self.socket.setblocking(False)
            aside.replace(path)
        except OSError as error:
            self.socket.close()
            raise SocketError(f"Can't listen on {path}: {error.strerror}.") from error

    def close(self) -> None:
        """Close, and remove the path unless it is a successor's by now."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


def request_listeners(path: Path, purpose: Literal["copy", "take"]) -> tuple[socket.socket, list[Listener]]:
    """Ask the front at `path` for its listening sockets.

    With `take`, it leaves the table alone from then on, until it is told `retire` on the connection that
    comes back, or that is closed. Blocks for up to five seconds. Raises OSError.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(json.dumps({"do": purpose}).encode() + b"\n")
        data, fds, _, _ = socket.recv_fds(connection, 65536, 16)
        sockets = [socket.socket(fileno=fd) for fd in fds]
        listeners = _name(sockets, data)
    except BaseException:
        connection.close()
        raise
    for listener in listeners:
        listener.socket.setblocking(False)
    return connection, listeners


def hand_out(connection: socket.socket, listeners: list[Listener]) -> None:
    """Answer `request_listeners`. Raises OSError."""
    note = {"listeners": [{"kind": listener.kind, "address": listener.address} for listener in listeners]}
    socket.send_fds(
        connection, [json.dumps(note).encode()], [listener.socket.fileno() for listener in listeners]
    )


def _name(sockets: list[socket.socket], data: bytes) -> list[Listener]:
    """The sockets that came, by the note that came with them. Raises ConnectionError."""
    if not data:
        raise ConnectionError("the front hung up")
    note: dict[str, Any] = json.loads(data)
    rows = zip(note["listeners"], sockets, strict=True)
    return [Listener(row["kind"], row["address"], sock) for row, sock in rows]


def is_alive(path: Path) -> bool:
    """Whether somebody listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _words(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Can't listen on {address}: another program has port {port}. Stop it, or choose another port."
    if error.errno == errno.EACCES:
        return f"Can't listen on {address}: ports below 1024 need root. Choose another port."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"Can't listen on {address}: this machine doesn't have that address. Choose another."
    return f"Can't listen on {address}: {error.strerror}. Choose another address."
