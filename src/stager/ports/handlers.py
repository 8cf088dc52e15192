"""The base classes of plugins, which built-ins use, too.

Each kind is a base class with one method. The method may be `async def`, or plain `def`, which runs in a
thread; its timeout is 30 seconds. A constructor gets what it needs by the names of its arguments: see
`stager.ports.plugins`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar, Protocol, TypeAlias, TypeVar

from stager.domain.commands import Command
from stager.domain.environment import ChangeLink
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.domain.pull_requests.events import Call, ChangeEvent, Decision
from stager.domain.service_status import ServiceState
from stager.domain.source import Revision, Trust
from stager.ports.login import SignIn

T = TypeVar("T")
Maybe: TypeAlias = Awaitable[T] | T
"""The result of an `async def` or a plain `def`."""

EVERY_ACTION = "*"
"""In a listener's `actions`: it receives every call."""


BUSY = "sign-in-busy"
"""The reason of the `Retry` that an overloaded strategy raises; the response is 503."""

TOKEN_PARAMETER = "github_token"  # noqa: S105
"""The request parameter that may contain a token, as with the first Stager."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials in a request.

    Args:
        authorization: the `Authorization` header; empty when there is none.
        parameters: the request's parameters.
        address: the client's network address; empty when unknown.
        session: the secret of a session of Stager's pages; a valid one takes precedence.
    """

    authorization: str = field(repr=False)
    parameters: Mapping[str, str] = field(repr=False)
    address: str = ""
    session: str = field(default="", repr=False)

    @property
    def bearer(self) -> str:
        """The bearer token (RFC 6750) or, for a strategy that `takes_token_parameter`, the parameter
        `github_token`, as the first Stager took it; empty when there is none."""
        scheme, _, token = self.authorization.partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
        return given or self.parameters.get(TOKEN_PARAMETER, "")

    @property
    def basic(self) -> str:
        """`name:password` from Basic credentials (RFC 7617); empty when there are none, or invalid ones."""
        scheme, _, token = self.authorization.partition(" ")
        if scheme.lower() != "basic":
            return ""
        try:
            return b64decode(token.strip(), validate=True).decode()
        except ValueError:
            return ""

    @property
    def without_parameter(self) -> Credentials:
        """The credentials without the parameter `github_token`."""
        rest = {name: value for name, value in self.parameters.items() if name != TOKEN_PARAMETER}
        return replace(self, parameters=rest)


@dataclass(frozen=True, slots=True)
class PreviewService:
    """A service of a preview, as handlers see it.

    Args:
        name: as declared; the other services reach it under this name.
        state: `healthy`, `restarting`, `failed` and so on, as in the API.
        host: where visitors reach it, without port; empty unless it is routed.
        url: the URL of that host; empty unless it is routed.
        is_main: whether it answers at the preview's own URL.
    """

    name: str
    state: ServiceState
    host: str = ""
    url: str = ""
    is_main: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """One preview, as handlers see it.

    Args:
        id: the environment's, as in the API.
        image_name: the entry under `images:`.
        container_name: the branch, or the name of the launch, unchanged.
        generation: 1 for its first launch; each refresh adds one.
        change: its pull request; None for a launch by name.
        parameters: the parameters of the launch.
        started_at: when this generation was started; None before.
        services: its services in the declared order, the main one among them. Empty in `prepare`, where they
            aren't known yet, and for a preview that was adopted after the database was lost.
    """

    id: str
    image_name: str
    container_name: str
    url: str
    generation: int = 1
    revision: Revision = field(default_factory=Revision)
    trust: Trust = Trust.TRUSTED
    change: ChangeLink | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    started_at: datetime | None = None
    services: tuple[PreviewService, ...] = ()


class Previews(Protocol):
    """Queries previews, for handlers."""

    async def running(self, image_name: str = "") -> list[Preview]:
        """The reachable previews, oldest first; all, or one application's. They include private ones: use
        `seen_by` for what is shown to users."""

    async def seen_by(self, actor: Actor | None, image_name: str = "") -> list[Preview]:
        """The reachable previews that the actor may see, by role and token scope; none for None."""


class Handler(ABC):  # noqa: B024 (its kinds have the methods)
    """The base class of all plugins.

    A nested `class Settings(pydantic.BaseModel)` declares its settings. They are in the configuration under
    `handlers:` and the class's name, and are validated with the rest.
    """

    section: ClassVar[str] = ""
    """A top-level key of the configuration that may contain the settings instead."""

    short_name: ClassVar[str] = ""
    """Another name for it in the configuration."""


class EventListener(Handler):
    """Decides about pull requests' events and answers calls; the first listener with an answer ends the
    search."""

    actions: ClassVar[Sequence[str]] = ()
    """The calls that it answers: requests to `/event_receiver` with one of these as `action`."""

    requires_authentication: ClassVar[bool] = True
    """Whether a call must be authenticated before the listener receives it."""

    @abstractmethod
    def handle(self, event: ChangeEvent | Call) -> Maybe[Decision | Command | None]:
        """A decision about a pull request's event, a command in answer to a call, or None to leave it to the
        next listener. Any other combination is an error."""


class PreLaunchHandler(Handler):
    """Adds or changes variables of an instance before it is created, or forbids the launch."""

    @abstractmethod
    def prepare(self, preview: Preview, variables: Mapping[str, str]) -> Maybe[Mapping[str, str] | None]:
        """Variables to add or replace, or None. Raises `Refused` to forbid the launch."""


class PostLaunchHandler(Handler):
    """Is called for each preview that became reachable or was refreshed."""

    @abstractmethod
    def launched(self, preview: Preview) -> Maybe[None]:
        """The preview serves at its URL."""


class PreKillHandler(Handler):
    """Is called for each preview before its removal, while it still runs."""

    @abstractmethod
    def killing(self, preview: Preview) -> Maybe[None]:
        """The preview is removed once this returns."""


class AuthenticationStrategy(Handler):
    """Authenticates direct requests, and determines roles."""

    takes_token_parameter: ClassVar[bool] = False
    """Whether it accepts a token in the parameter `github_token`, which is hidden from other strategies."""

    @abstractmethod
    def authenticate(self, credentials: Credentials) -> Maybe[Actor | None]:
        """The sender; None when the credentials are of another kind or wrong."""

    def role(self, actor: Actor, application: str, owner: str) -> Maybe[Role]:  # noqa: ARG002
        """The role of an actor that it authenticated; by default `DEVELOPER`.

        Args:
            application: the entry under `images:`; empty for the installation as a whole.
            owner: its `repo_owner`, or its `repo`, such as `acme/shop`; empty where neither is configured.
        """
        return Role.DEVELOPER

    def sign_in(self) -> SignIn | None:
        """The provider for signing in to Stager's pages; None for strategies with credentials only."""
        return None

    def signed_in_for(self) -> float | None:
        """The maximum duration of a sign-in in seconds; None for that of `sessions` in the configuration."""
        return None


class ContainerRotationStrategy(Handler):
    """Chooses which preview is stopped for a new one when `max_previews` is reached."""

    @abstractmethod
    def to_rotate(self, previews: Sequence[Preview]) -> Maybe[Preview | None]:
        """One of these, oldest first; None to stop none, so that the new one is suspended."""
