"""The pluggable classes that the configuration names. Built-ins enter by these same doors.

Each kind is a base class with one method. The method may be `async def`, or plain `def`, which runs in a
thread; it has 30 seconds. A constructor may ask for what it needs by the names of its arguments: see
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
from stager.domain.pull_requests.decisions import Decision
from stager.domain.pull_requests.events import Call, ChangeSeen
from stager.domain.source import Revision, Trust
from stager.ports.login import SignIn

T = TypeVar("T")
Maybe: TypeAlias = Awaitable[T] | T
"""What `async def` and plain `def` have in common."""

EVERY_ACTION = "*"
"""In a listener's `actions`: it wants to hear every call."""


BUSY = "sign-in-busy"
"""The reason of the `Retry` that a strategy raises when it has too much to compare; the answer is 503."""

TOKEN_PARAMETER = "github_token"  # noqa: S105
"""The parameter that may hold a token, as with the first Stager."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What came with a request by which its sender may be known.

    Args:
        authorization: the `Authorization` header; empty when there is none.
        parameters: the request's parameters.
        address: the network address that it came from, as far as that is known.
        session: the secret of a session at Stager's own pages; a good one counts before anything else.
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
        """`name:password` out of Basic credentials (RFC 7617); empty when there are no readable ones."""
        scheme, _, token = self.authorization.partition(" ")
        if scheme.lower() != "basic":
            return ""
        try:
            return b64decode(token.strip(), validate=True).decode()
        except ValueError:
            return ""

    @property
    def without_parameter(self) -> Credentials:
        """These without the parameter `github_token`."""
        rest = {name: value for name, value in self.parameters.items() if name != TOKEN_PARAMETER}
        return replace(self, parameters=rest)


@dataclass(frozen=True, slots=True)
class Preview:
    """One preview, as handlers see it.

    Args:
        id: the environment's, as in the API.
        image_name: the entry under `images:`.
        container_name: the branch, or the name given by hand, untouched.
        generation: 1 for its first launch; more for a refresh.
        change: its pull request; None for a launch by hand.
        parameters: what the launch gave.
        started_at: when this generation was started; None before.
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


class Previews(Protocol):
    """What a handler may ask about previews."""

    async def running(self, image_name: str = "") -> list[Preview]:
        """Those that are reachable now, oldest first; all of them, or one application's. Private ones are
        among them: what is shown to somebody is `seen_by` them."""

    async def seen_by(self, actor: Actor | None, image_name: str = "") -> list[Preview]:
        """Those of them that the actor may see, by their role for each application and the bounds of their
        token; none for nobody."""


class Handler(ABC):  # noqa: B024 (its kinds have the methods)
    """What all pluggable classes have in common.

    A nested `class Settings(pydantic.BaseModel)` declares settings of its own. They stand in the
    configuration under `handlers:` and the class's name, and are validated with the rest.
    """

    section: ClassVar[str] = ""
    """A key of the configuration's top level that the settings may stand under instead."""

    short_name: ClassVar[str] = ""
    """What the configuration may call it besides the class's name."""


class EventListener(Handler):
    """Decides about pull requests' events and answers calls; the first listener with an answer ends the
    search."""

    actions: ClassVar[Sequence[str]] = ()
    """The calls that it answers: requests to `/event_receiver` with one of these as `action`."""

    requires_authentication: ClassVar[bool] = True
    """Whether a call must be authenticated before the listener receives it."""

    @abstractmethod
    def handle(self, event: ChangeSeen | Call) -> Maybe[Decision | Command | None]:
        """A decision about a pull request's event, a command in answer to a call, or None to leave it to the
        next listener. Any other combination is an error."""


class PreLaunchHandler(Handler):
    """May amend the variables of an instance that is about to be made, or refuse to have it made."""

    @abstractmethod
    def prepare(self, preview: Preview, variables: Mapping[str, str]) -> Maybe[Mapping[str, str] | None]:
        """Variables to set in addition or instead, or None. Raises `Refused` to forbid the launch."""


class PostLaunchHandler(Handler):
    """Hears of each preview that has become reachable, and of each that was refreshed."""

    @abstractmethod
    def launched(self, preview: Preview) -> Maybe[None]:
        """It answers at its URL now."""


class PreKillHandler(Handler):
    """Hears of each preview that is about to be removed, while it still runs."""

    @abstractmethod
    def killing(self, preview: Preview) -> Maybe[None]:
        """It is removed as soon as this returns."""


class AuthenticationStrategy(Handler):
    """Knows who sends a direct request, and what they may do."""

    takes_token_parameter: ClassVar[bool] = False
    """Whether a token may also come as the parameter `github_token`, which others don't get to see."""

    @abstractmethod
    def authenticate(self, credentials: Credentials) -> Maybe[Actor | None]:
        """Who it is; None when these credentials aren't of this strategy's kind or aren't right."""

    def role(self, actor: Actor, application: str, owner: str) -> Maybe[Role]:  # noqa: ARG002
        """What somebody whom it knows may do; a developer's work, unless a strategy says otherwise.

        Args:
            application: the entry under `images:`; empty for the installation as a whole.
            owner: its `repo_owner`, or its `repo`, such as `acme/shop`; empty where neither is configured.
        """
        return Role.DEVELOPER

    def sign_in(self) -> SignIn | None:
        """Where those whom it knows sign in to Stager's own pages; None: nowhere, they have credentials."""
        return None

    def signed_in_for(self) -> float | None:
        """Seconds that a sign-in holds at most; None: as long as `sessions` in the configuration says."""
        return None


class ContainerRotationStrategy(Handler):
    """Chooses which preview makes room for another when `max_previews` are there."""

    @abstractmethod
    def to_rotate(self, previews: Sequence[Preview]) -> Maybe[Preview | None]:
        """One of these, oldest first; None to keep them all, so that the new one gets no room."""
