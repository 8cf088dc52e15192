"""As whom GitHub is asked: as an account with a token, or as nobody. `app` has the third way."""

from __future__ import annotations

from base64 import b64encode
from typing import Protocol

from stager.forges.github.api.rest import Credentials


class Account(Credentials, Protocol):
    """Who we are at GitHub."""

    async def for_git(self, owner: str, repository: str) -> str:
        """The value of the `Authorization` header by which git may read this repository; empty for none.
        Raises as `authorization` does."""

    async def login(self) -> str:
        """Who we are where we write; empty where `GET /user` tells. Raises as `authorization` does."""


class Token(Account):
    """An account's name and personal access token.

    Args:
        user: with `password` empty too, requests go without credentials.
        password: the token.
        web_url: the GitHub that people see.
    """

    def __init__(self, user: str, password: str, web_url: str) -> None:
        self._authorization = basic(user, password) if user or password else ""
        self._web_url = web_url

    async def authorization(self, owner: str, repository: str) -> str:  # noqa: ARG002 (the same for all)
        return self._authorization

    async def for_git(self, owner: str, repository: str) -> str:
        return await self.authorization(owner, repository)

    def renew(self, authorization: str) -> bool:  # noqa: ARG002
        """There is no other."""
        return False

    async def login(self) -> str:
        return ""

    def hint(self, status: int, permission: str) -> str:
        if status == 401:
            where = f"{self._web_url}/settings/tokens"
            return f"Put a valid token into `github.outgoing_auth`; they are made at {where}."
        if status == 403 and permission:
            return f"The token in `github.outgoing_auth` needs the permission {permission}."
        if status in {403, 404}:
            return "The account in `github.outgoing_auth` may not have access to this repository."
        return ""


def basic(user: str, password: str) -> str:
    """The value of an `Authorization` header (RFC 7617)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
