"""The GitHub driver, composed for one account or App over one HTTP session."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import aiohttp

from stager.domain.environment import ChangeLink
from stager.forges.github.api.announcements import GithubAnnouncements
from stager.forges.github.api.app import AppInstallations, AppJwt
from stager.forges.github.api.credentials import GithubAccount, TokenAccount
from stager.forges.github.api.origins import GithubOrigins
from stager.forges.github.api.people import GithubPeople
from stager.forges.github.api.pull_requests import GithubPullRequests
from stager.forges.github.api.redelivery import GithubRedelivery
from stager.forges.github.api.responses import AppCredentials
from stager.forges.github.api.rest import Rest
from stager.forges.github.webhooks.payloads import FORGE
from stager.ports.forge import Forge


@dataclass(frozen=True, slots=True)
class GithubServer:
    """A GitHub server. For GitHub Enterprise Server, `https://HOST/api/v3` and `https://HOST`.

    Args:
        timeout: seconds for a request with its response.
        pause: approximate seconds before the first retry.
    """

    api_url: str = "https://api.github.com"
    web_url: str = "https://github.com"
    timeout: float = 20.0
    pause: float = 0.5


def with_token(session: aiohttp.ClientSession, server: GithubServer, user: str, password: str) -> Forge:
    """GitHub with an account's personal access token; anonymous if both are empty.

    Args:
        session: closed by the caller.
    """
    account = TokenAccount(user, password, server.web_url)
    return _github(server, account, _rest(session, server, account), None)


def with_app(session: aiohttp.ClientSession, server: GithubServer, app: AppCredentials) -> Forge:
    """GitHub with an App. The caller closes the session. Raises `Fault` for an unusable key."""
    app_rest = _rest(session, server, AppJwt(app))
    account = AppInstallations(app_rest, app)
    return _github(server, account, _rest(session, server, account), app_rest)


def anonymous(session: aiohttp.ClientSession, server: GithubServer) -> Rest:
    """GitHub without credentials."""
    return _rest(session, server, TokenAccount("", "", server.web_url))


def _rest(session: aiohttp.ClientSession, server: GithubServer, credentials: GithubAccount | AppJwt) -> Rest:
    return Rest(session, server.api_url, credentials, timeout=server.timeout, pause=server.pause)


def _github(server: GithubServer, account: GithubAccount, rest: Rest, app_rest: Rest | None) -> Forge:
    client = GithubPullRequests(rest, account)
    return Forge(
        name=FORGE,
        changes=client,
        reports=client,
        origins=GithubOrigins(account, server.web_url),
        people=GithubPeople(rest),
        announcements=GithubAnnouncements(rest),
        redelivery=GithubRedelivery(rest, app_rest),
        comparison=comparison,
    )


def comparison(change: ChangeLink, base: str, head: str) -> str:
    """See `Forge.comparison` (GitHub docs: comparing commits). The URL of a pull request is that of its
    repository, then `/pull/` and the number."""
    repository, found, _ = change.url.rpartition("/pull/")
    if not found or not repository.startswith(("https://", "http://")):
        return ""
    return f"{repository}/compare/{quote(base)}...{quote(head)}"
