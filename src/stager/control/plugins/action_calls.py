"""The `action=` endpoint: passes requests to `/event_receiver` with `action=` to listeners."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from stager.control.plugins.invoker import Invoker
from stager.domain.commands import Command
from stager.domain.errors import Fault
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.domain.pull_requests.events import Call
from stager.ports.handlers import EVERY_ACTION, EventListener

BY = "listener"

log = structlog.get_logger(__name__)

Authenticate = Callable[[], Awaitable[Actor]]


class ActionCalls:
    """Passes calls to the listeners of their action, in the configuration's order."""

    def __init__(self, listeners: Sequence[EventListener] = (), invoker: Invoker | None = None) -> None:
        self._listeners = listeners
        self._invoker = invoker or Invoker()

    async def answer(
        self,
        name: str,
        parameters: Mapping[str, str],
        authenticate: Authenticate,
        *,
        method: str = "POST",
        address: str = "",
    ) -> tuple[Command, Actor] | None:
        """The command of the first listener that handles the call, and the actor who gives it; None if no
        listener handles it.

        Args:
            authenticate: identifies the sender; called only for listeners that require it.
            method: of the request.
            address: of the sender.

        Raises:
            Refused: the sender isn't authenticated, or a listener refuses the call.
            Fault: no listener handled the call, but one of them failed.
        """
        failure: Fault | None = None
        actor: Actor | None = None
        for listener in self._listeners:
            if not {name, EVERY_ACTION} & set(listener.actions):
                continue
            if listener.requires_authentication and actor is None:
                actor = await authenticate()
            known = actor if listener.requires_authentication else None
            call = Call(name, parameters, known, method, address)
            try:
                command = await self._invoker.command(listener, call)
            except Fault as error:
                failure = failure or error
                continue
            if command is not None:
                # A listener that needs no credentials acts as itself: an administrator has configured it.
                return command, actor or Actor(type(listener).__name__, BY, role=Role.DEVELOPER)
        if failure is not None:
            raise failure
        return None
