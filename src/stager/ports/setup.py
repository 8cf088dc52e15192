"""How a forge is connected from Stager's own pages, where the forge lets an App of ours be made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Proposal:
    """What somebody's browser brings to the forge, for the App to be made.

    Args:
        target: the address that the form is sent to.
        manifest: what the form's field `manifest` holds.
        reachable: whether the forge can bring deliveries to where Stager is.
        permissions: what the App may do, and what for.
    """

    target: str
    manifest: str
    reachable: bool
    permissions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class MadeApp:
    """An App of ours.

    Args:
        url: its page at the forge.
        install_url: where it is installed on repositories.
        in_use: whether the forge is asked as this App already; if not, it will be after a restart.
    """

    name: str
    url: str
    install_url: str
    in_use: bool


class AppSetup(Protocol):
    """Has the forge make an App, and keeps what it gives out for it.

    Attributes:
        forge_url: the forge that people see.
        overridden: whether the configuration names another App, so that what is made here has no effect.
    """

    forge_url: str
    overridden: bool

    def proposal(self, home: str, organization: str, state: str) -> Proposal:
        """What to bring to the forge.

        Args:
            home: Stager's own address, as people and the forge see it.
            organization: who is to own the App; empty for whoever brings it.
            state: comes back with the forge's answer.

        Raises:
            Refused: there can be no such organization.
        """

    async def finish(self, code: str) -> MadeApp:
        """Take what the forge has made, and keep it.

        Args:
            code: what the forge sent the browser back with. It is good once, for an hour.

        Raises:
            Refused: the forge doesn't know the code, or not any more.
            Retry: the forge can't be asked.
            Fault: it can't be kept.
        """

    def made(self) -> MadeApp | None:
        """The App that is kept; None when there is none.

        Raises:
            Fault: what is kept can't be read.
        """
