"""The scheduler: has a preview admitted after a change of its desired state, then wakes its worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from stager.control.environments.capacity import Capacity
from stager.control.environments.change_feed import ChangeFeed
from stager.domain.environment import Environment
from stager.domain.errors import Retry

Wake = Callable[[str], None]
"""Wakes the worker of the environment of this id."""
Show = Callable[[str], Awaitable[None]]
"""Updates the status page of the environment of this id, then publishes the change."""


class Scheduler:
    """Has a worker reconcile an environment whose desired state has changed.

    Args:
        capacity: admits the environment first, or has it wait for room.
    """

    def __init__(self, capacity: Capacity, change_feed: ChangeFeed, *, show: Show, wake: Wake) -> None:
        self._capacity = capacity
        self._change_feed = change_feed
        self._show = show
        self._wake = wake

    async def schedule(self, environment: Environment) -> None:
        """Admit the environment, publish the change, and wake the worker. Call it after the transaction."""
        await self._admit(environment)
        self._change_feed.changed(environment.id)
        self._wake(environment.id)

    async def show_and_schedule(self, environment: Environment) -> None:
        """Like `schedule`, but the status page shows the new state before this returns."""
        await self._admit(environment)
        try:
            with suppress(Retry):
                await self._show(environment.id)
        finally:
            self._wake(environment.id)

    async def _admit(self, environment: Environment) -> None:
        if environment.desired.should_run:
            await self._capacity.admit(environment)
        else:
            self._capacity.released(environment.id)
