"""What the hook does after a push: it tells Stager of it, and whoever pushed what Stager says.

`hook` has this file run by itself. It needs nothing of ours and little of Python's, because whoever pushes
waits while that is loaded: it speaks HTTP by hand, for `http.client` takes 60 ms, and by `_socket`, of which
`socket` is the part in Python, which takes 20. It never fails: the push has happened, and what isn't told is
found by the next resync.
"""

from __future__ import annotations

import _socket
import hmac
import os
import sys
import time
from collections.abc import Callable, Iterable

PATIENCE = 10.0
"""Seconds after which whoever pushes has waited long enough, GitHub's own patience with a webhook."""

PATH = "/webhooks/local"
SIGNATURE, REPOSITORY, DELIVERY = "x-stager-signature", "x-stager-repository", "x-stager-delivery"
PREFIX = "sha256="
LONGEST_ANSWER = 16 * 1024
BRANCHES = "refs/heads/"

SECRET, NAME, SERVER = "stager/secret", "stager/name", "stager/server"
"""In the repository: what messages are signed with, what it is called, and Stager's URL."""

AWAY = "Stager isn't running here; what was pushed is taken up as soon as it is."
SILENT = f"Stager didn't answer within {PATIENCE:g} seconds; it finds by itself what was pushed."
UNTOLD = "this push isn't known to Stager yet, which finds it by itself: {}"


def pushed(folder: str | os.PathLike[str], lines: Iterable[str], say: Callable[[str], None]) -> None:
    """Tell Stager of a push.

    Args:
        folder: the repository's.
        lines: what git gives a post-receive hook: old id, new id and ref (githooks(5)).
        say: hears each line that whoever pushed is to read.
    """
    body = "".join(line for line in lines if BRANCHES in line).encode(errors="surrogateescape")
    if not body:
        return
    try:
        secret, name, server = (_read(folder, file) for file in (SECRET, NAME, SERVER))
    except (OSError, ValueError) as error:
        say(UNTOLD.format(error))
        return
    try:
        answer = _post(server, _request(name, signature(secret.encode(), body), body))
    except TimeoutError:
        answer = SILENT
    except (OSError, ValueError):
        answer = AWAY
    for line in answer.splitlines():
        say("".join(c if c.isprintable() else " " for c in line))


def signature(secret: bytes, body: bytes) -> str:
    """What shows that a message comes from who knows the repository's secret."""
    return PREFIX + hmac.new(secret, body, "sha256").hexdigest()


def _read(folder: str | os.PathLike[str], file: str) -> str:
    with open(os.path.join(folder, file), encoding="utf-8") as stream:  # noqa: PTH118, PTH123 (pathlib takes 25 ms)
        return stream.read().strip()


def _request(name: str, signed: str, body: bytes) -> bytes:
    """In HTTP/1.0, in which an answer ends with its connection (RFC 1945, 7.2.2)."""
    head = (
        f"POST {PATH} HTTP/1.0",
        "Host: localhost",
        "Content-Type: text/plain",
        f"Content-Length: {len(body)}",
        f"{REPOSITORY}: {name}",
        f"{DELIVERY}: {os.urandom(16).hex()}",
        f"{SIGNATURE}: {signed}",
    )
    return "\r\n".join((*head, "", "")).encode() + body


def _post(server: str, request: bytes) -> str:
    """The text of Stager's answer. Raises OSError or ValueError when there is none."""
    host, _, port = server.rpartition("//")[2].rpartition(":")
    family = _socket.AF_INET6 if host.startswith("[") else _socket.AF_INET
    connection = _socket.socket(family, _socket.SOCK_STREAM)
    deadline, answer = time.monotonic() + PATIENCE, b""
    try:
        connection.settimeout(PATIENCE)
        connection.connect((host.strip("[]"), int(port)))
        connection.sendall(request)
        while len(answer) < LONGEST_ANSWER and (piece := connection.recv(LONGEST_ANSWER)):
            answer += piece
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError
            connection.settimeout(left)
    finally:
        connection.close()
    head, _, text = answer.partition(b"\r\n\r\n")
    if b"content-type: text/plain" not in head.lower():
        raise ValueError("somebody else answered")
    return text.decode(errors="replace")


def _say(line: str) -> None:
    """git shows it."""
    sys.stdout.buffer.write(f"stager: {line}\n".encode())


if __name__ == "__main__":
    pushed(os.curdir, (line.decode(errors="surrogateescape") for line in sys.stdin.buffer), _say)
