"""Requests to the control plane of this machine, on the socket that only its user can open."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

from stager.domain.errors import Retry
from stager.state import StateDirectory

TIMEOUT = 5.0
"""Seconds until a request fails."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: its HTTP status and body."""

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object.

        Raises:
            Retry: it isn't one.
        """
        try:
            value = json.loads(self.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise _away(f"responded with status {self.status} and no JSON object")
        return value


def request(state: StateDirectory, method: str, path: str) -> Answer:
    """Send a request without a body.

    Raises:
        Retry: the control plane doesn't answer, or this user can't open its socket.
    """
    connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(TIMEOUT)
    try:
        connection.sock.connect(str(state.control_socket))
        connection.request(method, path)
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except PermissionError as error:
        raise Retry(
            f"This user can't open {state.control_socket}.",
            hint="Run the command as the user that runs the server, or as root.",
            reason="control-plane-closed",
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _away(f"doesn't answer at {state.control_socket}") from error
    finally:
        connection.close()


def _away(what: str) -> Retry:
    return Retry(f"The control plane {what}.", hint="Start it: `stager serve`.", reason="control-plane-away")
