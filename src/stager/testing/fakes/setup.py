"""Fakes of the setup in the browser."""

from __future__ import annotations

from stager.domain.errors import Refused
from stager.ports.setup import MadeApp, NewApplication, Proposal

CODE = "a-good-code"


class FakeSetup:
    """See `stager.ports.setup.AppSetup`. It knows one code, `CODE`, and there is no organization of the name
    `none`.

    Attributes:
        app: the one that was made.
        proposed: what was proposed, oldest first: Stager's address, the organization and the state.
    """

    def __init__(self, forge_url: str = "https://forge.test", *, overridden: bool = False) -> None:
        self.forge_url = forge_url
        self.overridden = overridden
        self.app: MadeApp | None = None
        self.proposed: list[tuple[str, str, str]] = []

    def proposal(self, home: str, organization: str, state: str) -> Proposal:
        if organization == "none":
            raise Refused("There is no such organization.", reason="organization-invalid")
        self.proposed.append((home, organization, state))
        target = f"{self.forge_url}/{organization or 'me'}/new?state={state}"
        return Proposal(target, f'{{"url": "{home}"}}', home.startswith("https:"), (("read", "to read"),))

    async def finish(self, code: str) -> MadeApp:
        if code != CODE:
            raise Refused("The forge doesn't know this code.", reason="setup-code-unknown")
        url = f"{self.forge_url}/apps/stager"
        self.app = MadeApp("stager", url, f"{url}/install", in_use=not self.overridden)
        return self.app

    def made(self) -> MadeApp | None:
        return self.app


class FakeApplicationSetup:
    """See `stager.ports.setup.ApplicationSetup`. It refuses the name `taken`.

    Attributes:
        added: what was added, oldest first.
    """

    file = "/state/setup.yml"

    def __init__(self) -> None:
        self.added: list[NewApplication] = []

    def add(self, application: NewApplication) -> str:
        if application.name == "taken":
            raise Refused("There is an application taken already.", reason="setup-invalid")
        self.added.append(application)
        return application.name or application.repository.rpartition("/")[2]

    def is_waiting(self, name: str) -> bool:
        return name in [each.name for each in self.added]
