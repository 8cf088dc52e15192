"""Setup from Stager's pages: creation of a forge's App, and of applications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Proposal:
    """The form that a browser posts to the forge to create the App.

    Args:
        target: the form's URL.
        manifest: the value of the field `manifest`.
        reachable: whether the forge can reach Stager with deliveries.
        permissions: the App's permissions, each with its purpose.
    """

    target: str
    manifest: str
    reachable: bool
    permissions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class MadeApp:
    """The created App.

    Args:
        url: its page on the forge.
        install_url: the page on which it is installed.
        in_use: whether Stager uses it; otherwise the configuration names another App.
    """

    name: str
    url: str
    install_url: str
    in_use: bool


@dataclass(frozen=True, slots=True)
class NewApplication:
    """An application as it is entered in the browser.

    Args:
        name: the entry under `images`; empty: the repository's name.
        repository: `OWNER/NAME` at GitHub; empty for a repository on this machine.
        build: `auto`, `dockerfile` or `image`.
        image: the Docker image, for `image`.
        port: in digits; empty: that of the image or the framework.
        command: in shell syntax; empty: that of the image or the framework.
        env: environment variables.
        secrets: environment variables that code from forks doesn't get.
    """

    name: str = ""
    repository: str = ""
    build: str = "auto"
    image: str = ""
    port: str = ""
    command: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


class ApplicationSetup(Protocol):
    """Adds applications to the configuration from Stager's own pages.

    Attributes:
        file: the path of the file that they are stored in.
    """

    file: str

    def add(self, application: NewApplication) -> str:
        """Store an application, and have the control plane restarted with it. Returns its name.

        Raises:
            Refused: it is invalid, or there is one of this name.
            Fault: it can't be stored.
        """

    def is_waiting(self, name: str) -> bool:
        """Whether this application is stored and the control plane hasn't been restarted with it yet."""


class AppSetup(Protocol):
    """Creates an App at the forge, and stores its credentials.

    Attributes:
        forge_url: the forge's web address.
        overridden: whether the configuration names another App, which takes precedence.
    """

    forge_url: str
    overridden: bool

    def proposal(self, home: str, organization: str, state: str) -> Proposal:
        """The form to post to the forge.

        Args:
            home: Stager's public address.
            organization: the App's owner; empty for the user.
            state: returned by the forge.

        Raises:
            Refused: the organization's name is invalid.
        """

    async def finish(self, code: str) -> MadeApp:
        """Fetch and store the App's credentials, and use them from now on, unless `overridden`.

        Args:
            code: the code from the forge's redirect; valid once, for an hour.

        Raises:
            Refused: the code is unknown or expired.
            Retry: the forge doesn't answer.
            Fault: the credentials can't be stored.
        """

    def made(self) -> MadeApp | None:
        """The stored App; None when there is none.

        Raises:
            Fault: the stored App can't be read.
        """
