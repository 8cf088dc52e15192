"""Calls of this machine's Docker. Tokens go through its socket: all users see command lines."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

from stager.domain.errors import Fault

SOCKET = "/var/run/docker.sock"
TIMEOUT = 60.0
"""Seconds for one call. Joining takes as long as the manager needs to answer."""


class Engine:
    """Docker on this machine.

    Args:
        path: of its socket.
    """

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Make a call; returns the answer's JSON.

        Raises:
            Fault: `engine-refused`: Docker doesn't answer, or refuses; the message is Docker's.
        """
        connection = _UnixConnection(self._path)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Host": "docker", "Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        except OSError as error:
            raise _refused(f"Docker doesn't answer on {self._path}: {error}") from error
        finally:
            connection.close()
        value = json.loads(content) if content.strip() else None
        if answer.status >= 400:
            raise _refused(value.get("message", "") if isinstance(value, dict) else content.decode())
        return value


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


def _refused(message: str) -> Fault:
    return Fault(
        f"Docker: {message}",
        hint="Check that Docker runs, and that you may open its socket: `docker info`.",
        reason="engine-refused",
    )
