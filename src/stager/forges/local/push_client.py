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
from collections.abc import Callable, Iterable, Iterator, Mapping

PATIENCE = 10.0
"""Seconds that a push waits for Stager at most; GitHub's timeout for a webhook."""

LONGEST_WAIT = 3600.0
"""Seconds that a push with the option `wait` waits for the preview at most."""

PATH = "/webhooks/local"
SIGNATURE, REPOSITORY, DELIVERY = "x-stager-signature", "x-stager-repository", "x-stager-delivery"
WAIT = "x-stager-wait"
"""The header of a push with `-o wait`: the response goes on until the previews are live or have failed."""

END = "\0"
"""The last line of such a response."""

ACCEPTED = " 202"
PREFIX = "sha256="
LONGEST_LINE = 16 * 1024
BRANCHES = "refs/heads/"

SECRET, NAME, SERVER = "stager/secret", "stager/name", "stager/server"
"""In the repository: what messages are signed with, what it is called, and Stager's URL."""

AWAY = "Stager isn't running; it processes this push after its next start."
SILENT = f"Stager didn't answer within {PATIENCE:g} seconds; it will find this push with its next resync."
LOST = "the connection to Stager was lost; the deployment continues."
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
    waits = waits_for_previews(os.environ)
    request = _request(name, signature(secret.encode(), body), body, waits=waits)
    if waits:
        _follow(server, request, say)
        return
    try:
        _, *answer = _lines(_pieces(server, request, PATIENCE))
    except TimeoutError:
        answer = [SILENT]
    except (OSError, ValueError):
        answer = [AWAY]
    for line in answer:
        say(line)


def waits_for_previews(environ: Mapping[str, str]) -> bool:
    """Whether the push has the option `wait` (githooks(5), `post-receive`)."""
    count = environ.get("GIT_PUSH_OPTION_COUNT", "")
    options = (environ.get(f"GIT_PUSH_OPTION_{i}") for i in range(int(count) if count.isdecimal() else 0))
    return "wait" in options


def _follow(server: str, request: bytes, say: Callable[[str], None]) -> None:
    """Report a push, and print the response line by line until it ends."""
    status = line = ""
    try:
        lines = _lines(_pieces(server, request, LONGEST_WAIT))
        status = next(lines)
        for line in lines:
            if line != END:
                say(line)
    except (OSError, ValueError):
        pass
    if not status:
        say(AWAY)
    elif line != END and ACCEPTED in status:
        say(LOST)


def signature(secret: bytes, body: bytes) -> str:
    """The signature of a body with the repository's secret."""
    return PREFIX + hmac.new(secret, body, "sha256").hexdigest()


def _read(folder: str | os.PathLike[str], file: str) -> str:
    with open(os.path.join(folder, file), encoding="utf-8") as stream:  # noqa: PTH118, PTH123 (pathlib takes 25 ms)
        return stream.read().strip()


def _request(name: str, signed: str, body: bytes, *, waits: bool) -> bytes:
    """An HTTP/1.0 request: its response ends with the connection (RFC 1945, 7.2.2)."""
    head = (
        f"POST {PATH} HTTP/1.0",
        "Host: localhost",
        "Content-Type: text/plain",
        f"Content-Length: {len(body)}",
        f"{REPOSITORY}: {name}",
        f"{DELIVERY}: {os.urandom(16).hex()}",
        f"{SIGNATURE}: {signed}",
        *([f"{WAIT}: 1"] if waits else []),
    )
    return "\r\n".join((*head, "", "")).encode() + body


def _pieces(server: str, request: bytes, patience: float) -> Iterator[bytes]:
    """Send a request and yield the response in pieces.

    Args:
        patience: seconds that the whole response may take.

    Raises:
        OSError: there is no response, or it takes too long.
    """
    host, _, port = server.rpartition("//")[2].rpartition(":")
    family = _socket.AF_INET6 if host.startswith("[") else _socket.AF_INET
    connection = _socket.socket(family, _socket.SOCK_STREAM)
    deadline = time.monotonic() + patience
    try:
        connection.settimeout(PATIENCE)
        connection.connect((host.strip("[]"), int(port)))
        connection.sendall(request)
        connection.settimeout(patience)
        while piece := connection.recv(LONGEST_LINE):
            yield piece
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError
            connection.settimeout(left)
    finally:
        connection.close()


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """The status line of a response, and the lines of its text, printable, without empty ones.

    Raises:
        ValueError: the response isn't Stager's.
    """
    rest, is_text = b"", False
    for piece in pieces:
        rest += piece
        if not is_text:
            head, end, text = rest.partition(b"\r\n\r\n")
            if not end and len(rest) < LONGEST_LINE:
                continue
            if b"content-type: text/plain" not in head.lower():
                break
            yield _printable(head.partition(b"\r\n")[0])
            rest, is_text = text, True
        *whole, rest = rest.split(b"\n") if len(rest) < LONGEST_LINE else (rest, b"")
        yield from (_printable(line) for line in whole if line)
    if not is_text:
        raise ValueError("the response isn't Stager's")
    if rest:
        yield _printable(rest)


def _printable(line: bytes) -> str:
    text = line.decode(errors="replace")
    return text if text == END else "".join(c if c.isprintable() else " " for c in text)


def _say(line: str) -> None:
    """Print a line, which git shows to the user."""
    sys.stdout.buffer.write(f"stager: {line}\n".encode())


if __name__ == "__main__":
    report_push(os.curdir, (line.decode(errors="surrogateescape") for line in sys.stdin.buffer), _say)
