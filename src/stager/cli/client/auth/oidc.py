"""Accounts at the server's OpenID provider: in a browser, here or elsewhere. The server does the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from stager.cli.client.auth.github import Github


class OpenIDConnect(Github):
    """Signs in at the server's OpenID provider, in a browser."""

    kept_as = "oidc"
    asked_with: ClassVar[Mapping[str, str]] = {"provider": "oidc"}
    title = "OpenID Connect"
    needs = (
        "OpenIDConnectAuthentication and OpenIDConnectAuthorization in its configuration;"
        " with auth_strategy=Token, a token from its page /account will do, too"
    )

    def _ways(self) -> Sequence[Callable[[], str]]:
        """The address can be opened on any machine: its page shows whom it lets in."""
        return (self._in_browser,)
