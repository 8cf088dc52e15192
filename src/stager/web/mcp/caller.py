"""Who calls a tool: the actor of the request's credentials, checked again while the call runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from fastapi import Request

from stager.control.control_plane import ControlPlane
from stager.domain.errors import Refused, Retry
from stager.domain.identity.actor import Actor
from stager.ports.handlers import Credentials
from stager.web.context import address_of, control_plane_of, learn_domain

T = TypeVar("T")

BY: Final = "MCP"
"""In the audit log, in parentheses after the actor's name."""
CHECK_SECONDS: Final = 5.0
"""Between two checks of the credentials of a call that runs."""
MAX_CALLS: Final = 16
"""Open calls of one person. A call may wait for minutes."""

_CALLER: ContextVar[Caller] = ContextVar("caller")


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a call."""

    control: ControlPlane
    actor: Actor
    credentials: Credentials

    async def guard(self, work: Coroutine[object, object, T]) -> T:
        """Run `work`, and cancel it as soon as the credentials aren't valid any more.

        Raises:
            Refused: 401, they were revoked or have expired.
        """
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=CHECK_SECONDS))[0]:
                await self._check()
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _check(self) -> None:
        """Raise `Refused` (401) if the credentials are invalid at two looks: a strategy may fail once. While
        they can't be checked, the call goes on."""
        if await self._refusal() and (refusal := await self._refusal()):
            raise refusal

    async def _refusal(self) -> Refused | None:
        """Why the credentials are invalid; None if they are valid, or can't be checked at present."""
        try:
            await self.control.identity.authenticator.authenticate(self.credentials)
        except Refused as error:
            return error if error.status == 401 else None
        except Retry:
            return None
        return None


async def caller_of(request: Request) -> Caller:
    """Authenticate a request by its `Authorization` header; a browser's session doesn't count. Raises
    `Refused` (401)."""
    control = control_plane_of(request)
    credentials = Credentials(request.headers.get("authorization", ""), {}, address_of(request))
    actor = await control.identity.authenticator.authenticate(credentials)
    await learn_domain(request, control)
    return Caller(control, replace(actor, by=f"{actor.by}, {BY}"), credentials)


def current_caller() -> Caller:
    """The caller of the tool that runs."""
    return _CALLER.get()


class OpenCalls:
    """Limits how many calls of one person run at once."""

    def __init__(self) -> None:
        self._open: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def of(self, caller: Caller) -> Iterator[None]:
        """Count a call within the block, in which `current_caller` is the caller. Raises `Refused` (429)."""
        key = (caller.actor.strategy, caller.actor.name)
        if self._open[key] >= MAX_CALLS:
            raise Refused(
                f"{caller.actor.name} has {MAX_CALLS} open calls.",
                hint="Wait until one of them ends.",
                reason="too-many-calls",
                status=429,
            )
        self._open[key] += 1
        token = _CALLER.set(caller)
        try:
            yield
        finally:
            _CALLER.reset(token)
            self._open[key] -= 1
            self._open += Counter()  # drops zero counts
