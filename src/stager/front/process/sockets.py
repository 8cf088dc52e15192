"""Listening sockets: created, inherited, or handed over from one process to the next.

There is one listening socket per address, which all fronts share. As long as any process has it open, its
queue exists, so clients that connect wait and aren't refused.
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
_MAX_PATH = 100


class SocketError(Exception):
    """A socket can't be opened. The message is for the administrator."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket and its protocol: HTTP or HTTPS."""

    kind: Kind
    address: str
    socket: socket.socket


def listen(kind: Kind, address: str) -> Listener:
    """Listen at `HOST:PORT`. Raises SocketError."""
    _, port = split_address(address)
    family, sockaddr = _resolve(address)
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise SocketError(f"Can't listen on {address}: {error.strerror}. Choose another address.") from error
    try:
        # Not SO_REUSEPORT: each process would have its own queue, and connections in it would be lost when it
        # exits.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by every connection, so that clients that disappeared are detected.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.bind(sockaddr)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise SocketError(_message(address, port, error)) from error
    return Listener(kind, address_of(sock), sock)


def adopt(kind: Kind, fd: int) -> Listener:
    """Use a listening socket inherited from the parent process. Raises SocketError."""
    try:
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        sock.set_inheritable(False)
    except OSError as error:
        raise SocketError(f"File descriptor {fd} isn't a listening socket: {error.strerror}.") from error
    return Listener(kind, address_of(sock), sock)


def is_at(listener: Listener, address: str) -> bool:
    """Whether it listens at `HOST:PORT` in any notation; port 0 matches any port. Raises SocketError."""
    _, (host, port, *_) = _resolve(address)
    return listener.socket.getsockname()[0] == host and port in (0, listener.socket.getsockname()[1])


def accepts_for(listener: Listener, client: socket.socket) -> bool:
    """Whether a plain listener would have accepted this client connection, by its local address."""
    host, port = listener.socket.getsockname()[:2]
    client_host, client_port = client.getsockname()[:2]
    return listener.kind == "plain" and port == client_port and host in {"0.0.0.0", "::", client_host}  # noqa: S104


def address_of(sock: socket.socket) -> str:
    """The address of a socket as `HOST:PORT`. Instead of port 0 it has the port that the system chose."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _resolve(address: str) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    host, port = split_address(address)
    try:
        family, _, _, _, sockaddr = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise SocketError(f"Can't listen on {address}: {error.strerror}. Choose another address.") from error
    return family, sockaddr


def split_address(address: str) -> tuple[str, int]:
    """Split `HOST:PORT`, `[V6]:PORT` or `:PORT`. Raises SocketError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise SocketError(f"{address!r} isn't an address to listen on: use HOST:PORT.")
    return host.removeprefix("[").removesuffix("]"), int(port)


class PathListener:
    """A listening Unix socket that only its owner can open. Replaces an existing one. Raises SocketError."""

    def __init__(self, path: Path) -> None:
        if len(os.fsencode(path)) > _MAX_PATH:
            raise SocketError(f"{path} is too long for a socket: choose a shorter state directory.")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path = path
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            temporary.unlink(missing_ok=True)
            self.socket.bind(str(temporary))
            temporary.chmod(stat.S_IRUSR | stat.S_IWUSR)
            self._inode = temporary.stat().st_ino
            self.socket.listen(64)
            self.socket.setblocking(False)
            temporary.replace(path)
        except OSError as error:
            self.socket.close()
            raise SocketError(f"Can't listen on {path}: {error.strerror}.") from error

    def close(self) -> None:
        """Close the socket, and remove the path unless a successor has replaced it."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


def request_listeners(path: Path, purpose: Literal["copy", "take"]) -> tuple[socket.socket, list[Listener]]:
    """Request copies of the listening sockets of the front at `path`.

    With `take`, that front rejects changes of the table until `handover.RETIRE` is sent on the returned
    connection, or until that is closed. Blocks for up to five seconds. Raises OSError.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(json.dumps({"do": purpose}).encode() + b"\n")
        data, fds, _, _ = socket.recv_fds(connection, 65536, 16)
        sockets = [socket.socket(fileno=fd) for fd in fds]
        listeners = _listeners(sockets, data)
    except BaseException:
        connection.close()
        raise
    for listener in listeners:
        listener.socket.setblocking(False)
    return connection, listeners


def send_listeners(connection: socket.socket, listeners: list[Listener]) -> None:
    """Reply to `request_listeners`. Raises OSError."""
    message = {"listeners": [{"kind": listener.kind, "address": listener.address} for listener in listeners]}
    socket.send_fds(
        connection, [json.dumps(message).encode()], [listener.socket.fileno() for listener in listeners]
    )


def _listeners(sockets: list[socket.socket], data: bytes) -> list[Listener]:
    """Match the received sockets with the message. Raises ConnectionError."""
    if not data:
        raise ConnectionError("the front closed the connection")
    message: dict[str, Any] = json.loads(data)
    rows = zip(message["listeners"], sockets, strict=True)
    return [Listener(row["kind"], row["address"], sock) for row, sock in rows]


def is_alive(path: Path) -> bool:
    """Whether a process listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _message(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Can't listen on {address}: another program uses port {port}. Stop it, or choose another."
    if error.errno == errno.EACCES:
        return f"Can't listen on {address}: ports below 1024 need root. Choose another port."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"Can't listen on {address}: this machine doesn't have that address. Choose another."
    return f"Can't listen on {address}: {error.strerror}. Choose another address."
