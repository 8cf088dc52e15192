"""Has GitHub make an App of ours, and keeps what it gives out for it."""

from __future__ import annotations

from stager.domain.errors import Refused
from stager.forges.github.api import answers, problems
from stager.forges.github.api.answers import AppCredentials
from stager.forges.github.api.rest import Rest
from stager.forges.github.app_setup import manifest
from stager.forges.github.app_setup.keyring import Keyring
from stager.forges.github.sign_in import Client
from stager.forges.github.webhooks import wire
from stager.ports.setup import AppSetup, MadeApp, Proposal

CONVERSION = "/app-manifests/{code}/conversions"


class GithubSetup(AppSetup):
    """See the port.

    Args:
        rest: calls GitHub as nobody: the code is all that it wants.
        web_url: the GitHub that people see.
        running: the App that GitHub is asked as; None when that is none that was made here.
        overridden: see the port.
    """

    def __init__(
        self,
        rest: Rest,
        keyring: Keyring,
        web_url: str,
        *,
        running: AppCredentials | None = None,
        overridden: bool = False,
    ) -> None:
        self.forge_url = web_url.rstrip("/")
        self.overridden = overridden
        self._running = running
        self._rest = rest
        self._keyring = keyring
        self._app: AppCredentials | None = None

    def proposal(self, home: str, organization: str, state: str) -> Proposal:
        return manifest.proposal(self.forge_url, home, organization, state)

    async def finish(self, code: str) -> MadeApp:
        try:
            answer = await self._rest.create(CONVERSION, {"code": code})
            app = answers.read_made_app(answer)
        except Refused as error:
            if error.status not in {404, 422}:
                raise
            raise Refused(
                "GitHub doesn't know this code, or not any more: it is good once, and for an hour.",
                hint="Begin again at /setup/github.",
                reason="setup-code-unknown",
            ) from None
        except wire.Unreadable as error:
            raise problems.unreadable(error, f"POST {CONVERSION}") from None
        self._keyring.save(app)
        self._app = app
        return self._made(app)

    def made(self) -> MadeApp | None:
        app = self._known()
        return self._made(app) if app else None

    def secrets(self) -> list[str]:
        """Those that GitHub signs the App's deliveries with; none without an App. Raises as `made` does."""
        app = self._known()
        return [app.webhook_secret] if app and app.webhook_secret else []

    def client(self) -> Client | None:
        """As whom the App signs people in; None without an App. Raises as `made` does."""
        app = self._known()
        return (
            Client(app.client_id, app.client_secret, manifest.LOGIN_PATH) if app and app.client_id else None
        )

    def _known(self) -> AppCredentials | None:
        self._app = self._app or self._keyring.load()
        return self._app

    def _made(self, app: AppCredentials) -> MadeApp:
        return MadeApp(app.slug, app.url, f"{app.url}/installations/new", in_use=app == self._running)
