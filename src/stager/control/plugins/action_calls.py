"""Answers calls: requests to `/event_receiver` with `action=`, for whichever listener takes it."""

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
    """Asks the listeners that want to hear of a call, in the configuration's order."""

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
        """What the first listener that takes the call asks for, and on whose behalf; None: nobody takes it.

        Args:
            authenticate: tells who asks; called only for a listener that wants to know.
            method: the request's.
            address: where it came from.

        Raises:
            Refused: the sender isn't known, or a listener says no.
            Fault: the one that would have taken it may be one that failed.
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
                # A listener that asks for no credentials speaks for itself; whoever configured it trusts it.
                return command, actor or Actor(type(listener).__name__, BY, role=Role.DEVELOPER)
        if failure is not None:
            raise failure
        return None
