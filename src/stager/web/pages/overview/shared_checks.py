"""Checks of credentials and permissions, shared by all open streams."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import cast

from stager.control.control_plane import ControlPlane
from stager.control.environments.queries import Visibility
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.ports.handlers import Credentials

CHECK_SECONDS = 2.0
"""For this long, the result of a check is used."""


class SharedChecks:
    """Asks once per `CHECK_SECONDS` for each person, however many streams they have open. Requests for the
    same check at the same time wait for one answer."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, tuple[float, asyncio.Future[object]]] = OrderedDict()

    async def actor(self, control: ControlPlane, credentials: Credentials) -> Actor | None:
        """Return the person whom the credentials identify; None if they are no longer valid. Raises `Retry`
        while too many credentials are being checked."""
        key = (
            *("actor", credentials.session, credentials.authorization, credentials.address),
            tuple(sorted(credentials.parameters.items())),
        )

        async def ask() -> Actor | None:
            try:
                return await control.identity.authenticator.authenticate(credentials)
            except Refused:
                return None

        return cast("Actor | None", await self._once(key, ask))

    async def visibility(self, control: ControlPlane, actor: Actor, app: str) -> Visibility:
        """Return what a person may see of an application's previews, and do with them."""

        async def ask() -> Visibility:
            return await control.environments.queries.visibility(actor, app)

        # Actors are equal whatever their proof is, but the role may depend on it.
        return cast("Visibility", await self._once(("visibility", actor, actor.proof, app), ask))

    async def _once(self, key: Hashable, ask: Callable[[], Awaitable[object]]) -> object:
        now = asyncio.get_running_loop().time()
        self._forget_old(now)
        if key not in self._answers:
            self._answers[key] = now, asyncio.ensure_future(ask())
        return await asyncio.shield(self._answers[key][1])

    def _forget_old(self, now: float) -> None:
        while self._answers and now - next(iter(self._answers.values()))[0] >= CHECK_SECONDS:
            self._answers.popitem(last=False)
