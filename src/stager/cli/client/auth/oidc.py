"""Sign-in at the server's OpenID Connect provider, in a browser on this or another machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from stager.cli.client.auth.github import Github


class OpenIDConnect(Github):
    """Signs in at the server's OpenID Connect provider, in a browser."""

    secret_name = "oidc"  # noqa: S105
    parameters: ClassVar[Mapping[str, str]] = {"provider": "oidc"}
    title = "OpenID Connect"
    required = (
        "OpenIDConnectAuthentication and OpenIDConnectAuthorization in its configuration. Alternatively, set"
        " auth_strategy=Token and use an API token from the server's page /account"
    )

    def _flows(self) -> Sequence[Callable[[], str]]:
        """The browser flow only: its URL can be opened on any machine, and the page shows the code."""
        return (self._in_browser,)
