"""The credentials of a registry in Docker's configuration, as `docker login` stores them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user of a registry.

    Args:
        server: host and port of the registry.
        user: empty for none.
    """

    server: str
    user: str = ""
    password: str = ""

    @property
    def header(self) -> str:
        """The value of Docker's header `X-Registry-Auth`."""
        account = {"username": self.user, "password": self.password, "serveraddress": self.server}
        text = json.dumps(account if self.user else {})
        return base64.urlsafe_b64encode(text.encode()).decode()

    @property
    def authorization(self) -> Mapping[str, str]:
        """The headers of a request to the registry itself."""
        if not self.user:
            return {}
        return {"Authorization": aiohttp.encode_basic_auth(self.user, self.password)}


def docker_config(environ: Mapping[str, str] = os.environ) -> Path:
    """The file in which `docker login` of this user stores credentials."""
    folder = environ.get("DOCKER_CONFIG", "")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def credentials_of(server: str, config: Path) -> Credentials:
    """The credentials that `docker login` stored for this registry; without a user if there are none, or a
    credential helper has them.

    Args:
        server: host and port.
    """
    try:
        stored = json.loads(config.read_text("utf-8"))["auths"][server]["auth"]
        user, _, password = base64.b64decode(stored).decode().partition(":")
    except (OSError, ValueError, KeyError, TypeError):
        return Credentials(server)
    return Credentials(server, user, password)
