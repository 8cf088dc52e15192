"""What follows each change of desired state: the capacity limit, the status page and the worker."""

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
        capacity: enforces the limit of previews first.
    """

    def __init__(self, capacity: Capacity, change_feed: ChangeFeed, *, show: Show, wake: Wake) -> None:
        self._capacity = capacity
        self._change_feed = change_feed
        self._show = show
        self._wake = wake

    async def schedule(self, environment: Environment) -> None:
        """Enforce the limit, publish the change, and wake the worker. Call it after the transaction."""
        await self._enforce_limit(environment)
        self._change_feed.changed(environment.id)
        self._wake(environment.id)

    async def show_and_schedule(self, environment: Environment) -> None:
        """Like `schedule`, but the status page shows the new state before this returns."""
        await self._enforce_limit(environment)
        try:
            with suppress(Retry):
                await self._show(environment.id)
        finally:
            self._wake(environment.id)

    async def _enforce_limit(self, environment: Environment) -> None:
        if environment.desired.should_run:
            await self._capacity.enforce(environment)
