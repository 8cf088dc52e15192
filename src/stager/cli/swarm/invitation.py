"""An invitation to the swarm: all that `stager node join` must know, as one line. It is a secret."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict, dataclass

from stager.domain.errors import Refused

PREFIX = "stager-node-"
LONGEST = 4096
PATTERNS = {
    "manager": r"[0-9a-fA-F.:\[\]]{3,45}:[0-9]{1,5}",
    "token": r"SWMTKN-[0-9a-z-]{20,200}",
    "key": r"ssh-ed25519 [A-Za-z0-9+/]{40,100}={0,2} stager-[a-z0-9-]{1,64}",
}
"""The key becomes a line of `authorized_keys`, so it may have nothing else."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a node needs.

    Args:
        manager: address and port of the manager.
        token: the swarm's token for workers: with it, any machine that reaches the manager can join.
        key: Stager's public SSH key.
    """

    manager: str
    token: str
    key: str

    def encode(self) -> str:
        """The line."""
        return PREFIX + base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()


def decode(line: str) -> Invitation:
    """Parse the line.

    Raises:
        Refused: `invitation-invalid`.
    """
    match _values(line.strip()):
        case {"manager": str(manager), "token": str(token), "key": str(key)} if all(
            re.fullmatch(pattern, value, re.ASCII)
            for pattern, value in zip(PATTERNS.values(), (manager, token, key), strict=True)
        ):
            return Invitation(manager, token, key)
    raise Refused(
        "This isn't an invitation to a swarm.",
        hint="Run `stager swarm init` on the manager, and paste the line that it prints.",
        reason="invitation-invalid",
    )


def _values(text: str) -> object:
    if not text.startswith(PREFIX) or len(text) > LONGEST:
        return None
    try:
        return json.loads(base64.b64decode(text.removeprefix(PREFIX), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        return None
