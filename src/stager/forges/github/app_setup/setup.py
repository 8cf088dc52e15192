"""Creates Stager's GitHub App and stores its credentials."""

from __future__ import annotations

from collections.abc import Callable

from stager.domain.errors import Refused
from stager.forges.github.api import problems, responses
from stager.forges.github.api.responses import AppCredentials
from stager.forges.github.api.rest import Rest
from stager.forges.github.app_setup import manifest
from stager.forges.github.app_setup.keyring import Keyring
from stager.forges.github.sign_in import OAuthClient
from stager.forges.github.webhooks import wire
from stager.ports.setup import AppSetup, MadeApp, Proposal

CONVERSION = "/app-manifests/{code}/conversions"


class GithubSetup(AppSetup):
    """See the port.

    Args:
        rest: an anonymous client: the code is the only credential.
        web_url: GitHub's web address.
        running: the App that this process uses; None for none, or one that wasn't created here.
        use: makes this process use a created App from now on. Raises `Fault` for an unusable key.
        overridden: see the port.
    """

    def __init__(
        self,
        rest: Rest,
        keyring: Keyring,
        web_url: str,
        *,
        running: AppCredentials | None = None,
        use: Callable[[AppCredentials], None],
        overridden: bool = False,
    ) -> None:
        self.forge_url = web_url.rstrip("/")
        self.overridden = overridden
        self._running = running
        self._use = use
        self._rest = rest
        self._keyring = keyring
        self._app: AppCredentials | None = None

    def proposal(self, home: str, organization: str, state: str) -> Proposal:
        return manifest.proposal(self.forge_url, home, organization, state)

    async def finish(self, code: str) -> MadeApp:
        try:
            answer = await self._rest.create(CONVERSION, {"code": code})
            app = responses.read_created_app(answer)
        except Refused as error:
            if error.status not in {404, 422}:
                raise
            raise Refused(
                "The code is unknown to GitHub or has expired; it is valid once, for an hour.",
                hint="Start again at /setup/github.",
                reason="setup-code-unknown",
            ) from None
        except wire.Unreadable as error:
            raise problems.unreadable(error, f"POST {CONVERSION}") from None
        self._keyring.save(app)
        self._app = app
        if not self.overridden:
            self._use(app)
            self._running = app
        return self._made(app)

    def made(self) -> MadeApp | None:
        app = self._known()
        return self._made(app) if app else None

    def secrets(self) -> list[str]:
        """Webhook secrets of the App's deliveries; none without an App. Raises what `made` does."""
        app = self._known()
        return [app.webhook_secret] if app and app.webhook_secret else []

    def client(self) -> OAuthClient | None:
        """The App's OAuth client; None without an App. Raises what `made` does."""
        app = self._known()
        return (
            OAuthClient(app.client_id, app.client_secret, manifest.LOGIN_PATH)
            if app and app.client_id
            else None
        )

    def _known(self) -> AppCredentials | None:
        self._app = self._app or self._keyring.load()
        return self._app

    def _made(self, app: AppCredentials) -> MadeApp:
        return MadeApp(app.slug, app.url, f"{app.url}/installations/new", in_use=app == self._running)
