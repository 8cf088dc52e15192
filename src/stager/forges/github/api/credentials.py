"""Credentials for GitHub: an account's token, or none. Apps are in `app`."""

from __future__ import annotations

from base64 import b64encode
from typing import Protocol

from stager.forges.github.api.rest import RequestCredentials


class GithubAccount(RequestCredentials, Protocol):
    """The identity that Stager uses at GitHub."""

    async def for_git(self, owner: str, repository: str) -> str:
        """The `Authorization` header's value for git to read this repository; empty for none. Raises what
        `authorization` does."""

    async def login(self) -> str:
        """The login that writes comments; empty where `GET /user` returns it. Raises what `authorization`
        does."""


class TokenAccount(GithubAccount):
    """An account's name and personal access token.

    Args:
        user: the login; if `password` is empty, too, requests are anonymous.
        password: the token.
        web_url: GitHub's web address.
    """

    def __init__(self, user: str, password: str, web_url: str) -> None:
        self._authorization = basic(user, password) if user or password else ""
        self._web_url = web_url

    async def authorization(self, owner: str, repository: str) -> str:  # noqa: ARG002 (the same for all)
        return self._authorization

    async def for_git(self, owner: str, repository: str) -> str:
        return await self.authorization(owner, repository)

    def renew(self, authorization: str) -> bool:  # noqa: ARG002
        """False: there is no other token."""
        return False

    async def login(self) -> str:
        return ""

    def hint(self, status: int, permission: str) -> str:
        if status == 401:
            where = f"{self._web_url}/settings/tokens"
            return f"Set a valid token in `github.outgoing_auth`; create one at {where}."
        if status == 403 and permission:
            return f"The token in `github.outgoing_auth` needs the permission {permission}."
        if status in {403, 404}:
            return "The account in `github.outgoing_auth` may not have access to this repository."
        return ""


def basic(user: str, password: str) -> str:
    """The value of an `Authorization` header (RFC 7617)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
