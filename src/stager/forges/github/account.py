"""GitHub for one account or App: all that it is asked and told, over one session."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp

from stager.forges.github.api.announcements import GithubAnnouncements
from stager.forges.github.api.answers import AppCredentials
from stager.forges.github.api.app import Installations, Signer
from stager.forges.github.api.credentials import Account, Token
from stager.forges.github.api.origins import GithubOrigins
from stager.forges.github.api.people import GithubPeople
from stager.forges.github.api.pull_requests import GithubClient
from stager.forges.github.api.redelivery import GithubRecovery
from stager.forges.github.api.rest import Rest
from stager.forges.github.webhooks.payloads import FORGE
from stager.ports.forge import Forge


@dataclass(frozen=True, slots=True)
class Place:
    """Where a GitHub is. For GitHub Enterprise Server, `https://HOST/api/v3` and `https://HOST`.

    Args:
        timeout: seconds for one request and its answer.
        pause: seconds, about, before what failed in passing is tried again.
    """

    api_url: str = "https://api.github.com"
    web_url: str = "https://github.com"
    timeout: float = 20.0
    pause: float = 0.5


def with_token(session: aiohttp.ClientSession, place: Place, user: str, password: str) -> Forge:
    """GitHub as an account with a personal access token sees it; with neither, as everybody does.

    Args:
        session: whoever made it closes it; as for `with_app`.
    """
    account = Token(user, password, place.web_url)
    return _github(place, account, _rest(session, place, account), None)


def with_app(session: aiohttp.ClientSession, place: Place, app: AppCredentials) -> Forge:
    """GitHub as an App sees it. Raises `Fault` when its key can't be used."""
    app_rest = _rest(session, place, Signer(app))
    account = Installations(app_rest, app)
    return _github(place, account, _rest(session, place, account), app_rest)


def as_nobody(session: aiohttp.ClientSession, place: Place) -> Rest:
    """GitHub as everybody sees it."""
    return _rest(session, place, Token("", "", place.web_url))


def _rest(session: aiohttp.ClientSession, place: Place, credentials: Account | Signer) -> Rest:
    return Rest(session, place.api_url, credentials, timeout=place.timeout, pause=place.pause)


def _github(place: Place, account: Account, rest: Rest, app_rest: Rest | None) -> Forge:
    client = GithubClient(rest, account)
    return Forge(
        name=FORGE,
        changes=client,
        reports=client,
        origins=GithubOrigins(account, place.web_url),
        people=GithubPeople(rest),
        announcements=GithubAnnouncements(rest),
        recovery=GithubRecovery(rest, app_rest),
    )
