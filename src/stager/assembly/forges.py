"""The forges, as the settings define them: webhooks, API access, sign-in."""

from __future__ import annotations

import aiohttp

from stager.control.forges import Forges
from stager.control.routing.urls import Urls
from stager.domain.route import reached_at
from stager.forges.github.account import GithubServer, anonymous, with_app, with_token
from stager.forges.github.app_setup.keyring import Keyring, app_in_force
from stager.forges.github.app_setup.setup import GithubSetup
from stager.forges.github.sign_in import GithubSignIn, OAuthClient
from stager.forges.github.webhooks.events import GithubWebhooks
from stager.forges.local.forge import LocalForge
from stager.settings.model import Settings
from stager.state import StateDirectory


def webhooks_of(settings: Settings, setup: GithubSetup) -> GithubWebhooks:
    """Verification of GitHub's deliveries."""
    incoming = settings.github.incoming_auth
    return GithubWebhooks(
        incoming.hook_secret.reveal(),
        incoming.user,
        incoming.password.reveal(),
        app_secrets=setup.secrets,
        sha1=incoming.allow_sha1,
    )


def github_of(
    settings: Settings, state: StateDirectory, session: aiohttp.ClientSession, forges: Forges
) -> GithubSetup:
    """Add GitHub to the forges, if there are credentials. Returns the setup of a GitHub App, which adds it
    later.

    Raises:
        Fault: the App's credentials are invalid.
    """
    given, outgoing = settings.github, settings.github.outgoing_auth
    server = GithubServer(given.api_url, given.web_url)
    keyring = Keyring(state.github_app)
    app = app_in_force(given.app_id, given.private_key.reveal(), keyring)
    setup = GithubSetup(
        anonymous(session, server),
        keyring,
        given.web_url,
        running=app,
        use=lambda made: forges.use(with_app(session, server, made)),
        overridden=bool(given.app_id),
    )
    if app:
        forges.use(with_app(session, server, app))
    elif outgoing.user:
        forges.use(with_token(session, server, outgoing.user, outgoing.password.reveal()))
    return setup


def accounts_of(settings: Settings, session: aiohttp.ClientSession, setup: GithubSetup) -> GithubSignIn:
    """Sign-in with GitHub: by the configured OAuth application, or the App that the setup created."""
    given = settings.github
    server = GithubServer(given.api_url, given.web_url)

    def client() -> OAuthClient | None:
        if given.client_id:
            return OAuthClient(given.client_id, given.client_secret.reveal())
        return setup.client()

    return GithubSignIn(session, server, client, given.scope)


async def local_forge_of(settings: Settings, listen: str, urls: Urls) -> LocalForge | None:
    """The repositories on this machine, with installed hooks; None if none is configured.

    Args:
        listen: where the front listens.

    Raises:
        Refused: a repository can't be used.
    """
    if not settings.local_forge:
        return None
    forge = LocalForge(settings.local_forge, lambda: urls.home)
    host, _, port = listen.rpartition(":")
    host = reached_at(host.strip("[]"))
    await forge.open(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    return forge
