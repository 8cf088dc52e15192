"""HTTP Basic authentication (RFC 7617) against the users in the configuration.

For demonstrations and closed networks: the passwords stand in the configuration as plain text.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import unicodedata
from collections.abc import Mapping

from stager.domain.access import Role
from stager.domain.actor import Actor
from stager.ports.handlers import AuthenticationStrategy, Credentials


class BasicAuthentication(AuthenticationStrategy):
    """Knows the configured users by their passwords.

    How long it takes tells nothing about which users there are: what is given is compared with all of them,
    as digests of one length.

    Args:
        users: passwords by user name; nobody passes while it is empty.

    Raises:
        ValueError: a name contains a colon, which separates name and password in the header.
    """

    name = "BasicAuthentication"
    short_name = "basic"

    def __init__(self, users: Mapping[str, str]) -> None:
        if any(":" in user for user in users):
            raise ValueError("A user's name can't contain a colon.")
        self._key = secrets.token_bytes(32)
        self._users = [(user, self._digest(f"{user}:{password}")) for user, password in users.items()]

    async def authenticate(self, credentials: Credentials) -> Actor | None:
        pair = _pair(credentials.authorization)
        if pair is None:
            return None
        given = self._digest(pair)
        known = [user for user, digest in self._users if hmac.compare_digest(digest, given)]
        return Actor(known[0], self.name) if known else None

    def role(self, actor: Actor, application: str, owner: str) -> Role:  # noqa: ARG002
        """Everything, as in the first Stager; `roles:` in the configuration may say less."""
        return Role.ADMINISTRATOR

    def _digest(self, pair: str) -> bytes:
        return hmac.digest(self._key, unicodedata.normalize("NFC", pair).encode(), "sha256")


def _pair(authorization: str) -> str | None:
    """`name:password` out of the header; None when it isn't readable Basic credentials."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(token.strip(), validate=True).decode()
    except ValueError:
        return None
