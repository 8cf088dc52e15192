"""The program of the post-receive hook: reports a push to Stager and prints Stager's answer.

`hook` runs this file alone. It imports nothing of Stager and little of Python, because the pushing user
waits: `http.client` takes 60 ms to import and `socket` 20, so it writes HTTP itself and uses `_socket`. It
never fails: the push is complete, and the next resync finds what couldn't be reported.
"""

from __future__ import annotations

import _socket
import hmac
import os
import sys
import time
from collections.abc import Callable, Iterable

PATIENCE = 10.0
"""Seconds that a push waits for Stager at most; GitHub's timeout for a webhook."""

PATH = "/webhooks/local"
SIGNATURE, REPOSITORY, DELIVERY = "x-stager-signature", "x-stager-repository", "x-stager-delivery"
PREFIX = "sha256="
LONGEST_ANSWER = 16 * 1024
BRANCHES = "refs/heads/"

SECRET, NAME, SERVER = "stager/secret", "stager/name", "stager/server"
"""In the repository: what messages are signed with, what it is called, and Stager's URL."""

AWAY = "Stager isn't running; it processes this push after its next start."
SILENT = f"Stager didn't answer within {PATIENCE:g} seconds; it will find this push with its next resync."
UNTOLD = "this push couldn't be reported to Stager, which will find it with its next resync: {}"


def report_push(folder: str | os.PathLike[str], lines: Iterable[str], say: Callable[[str], None]) -> None:
    """Report a push to Stager.

    Args:
        folder: the repository's.
        lines: a post-receive hook's input: old id, new id and ref (githooks(5)).
        say: called with each line for the pushing user.
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
    """The signature of a body with the repository's secret."""
    return PREFIX + hmac.new(secret, body, "sha256").hexdigest()


def _read(folder: str | os.PathLike[str], file: str) -> str:
    with open(os.path.join(folder, file), encoding="utf-8") as stream:  # noqa: PTH118, PTH123 (pathlib takes 25 ms)
        return stream.read().strip()


def _request(name: str, signed: str, body: bytes) -> bytes:
    """An HTTP/1.0 request: its response ends with the connection (RFC 1945, 7.2.2)."""
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
    """The text of Stager's response. Raises OSError or ValueError if there is none."""
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
        raise ValueError("the response isn't Stager's")
    return text.decode(errors="replace")


def _say(line: str) -> None:
    """Print a line, which git shows to the user."""
    sys.stdout.buffer.write(f"stager: {line}\n".encode())


if __name__ == "__main__":
    report_push(os.curdir, (line.decode(errors="surrogateescape") for line in sys.stdin.buffer), _say)
