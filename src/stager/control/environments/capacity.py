"""The limit of previews: each one above it replaces another one, or isn't started itself. And the scheduler,
which enforces the limit after each change of desired state, then wakes the worker.

The limit is enforced after a request was written, so that no preview is removed for a launch that is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.desired_state import DesiredState
from stager.control.environments.pins import pin_of
from stager.control.plugins.invoker import Invoker
from stager.control.plugins.lifecycle import preview_of
from stager.control.routing.urls import Urls
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, Suspension, SuspensionReason
from stager.domain.errors import Retry, StagerError
from stager.ports.handlers import ContainerRotationStrategy, Preview
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rotation:
    """Chooses which preview is removed at the limit.

    Args:
        strategy: the configured plugin; None: the oldest preview.
    """

    invoker: Invoker
    urls: Urls
    strategy: ContainerRotationStrategy | None = None

    async def choose(self, candidates: list[tuple[Environment, Deployment | None]]) -> str | None:
        """The id of the environment to remove; None: none of them.

        Args:
            candidates: in the order of their start, oldest first.
        """
        previews = [preview_of(*pair, self.urls) for pair in candidates]
        chosen = await self._choose(previews)
        return chosen.id if chosen else None

    async def _choose(self, previews: list[Preview]) -> Preview | None:
        if self.strategy is None or not previews:
            return next(iter(previews), None)
        try:
            answer = await self.invoker.ask(self.strategy, "to_rotate", previews)
        except StagerError as error:
            log.warning("rotation_by_age", reason=error.reason, error=error.message)
            return previews[0]
        if answer is not None and answer not in previews:
            error_text = f"{type(self.strategy).__name__} returned a preview that isn't a candidate"
            log.warning("rotation_by_age", error=error_text)
            return previews[0]
        return next((p for p in previews if p == answer), None)


class Capacity:
    """Limits the number of previews that should run.

    Args:
        limit: None: unlimited.
    """

    def __init__(
        self,
        store: Store,
        desired_state: DesiredState,
        change_feed: ChangeFeed,
        wake: Callable[[str], None],
        rotation: Rotation,
        limit: int | None,
    ) -> None:
        self._store = store
        self._desired_state = desired_state
        self._change_feed = change_feed
        self._wake = wake
        self._rotation = rotation
        self._limit = limit
        self._lock = asyncio.Lock()

    async def enforce(self, newest: Environment) -> None:
        """Remove other previews until the limit is kept. If none of them may be removed, suspend `newest`."""
        if self._limit is None:
            return
        async with self._lock:
            while len(others := await self._store.read(lambda tx: _others(tx, newest))) >= self._limit:
                chosen = await self._rotation.choose(await self._unpinned(others))
                rotated = chosen or newest.id
                await self._store.write(lambda tx, id_=rotated: self._rotate(tx, id_))  # type: ignore[misc]
                log.info("rotated", environment=rotated, for_environment=newest.id, limit=self._limit)
                self._change_feed.changed(rotated)
                self._wake(rotated)
                if chosen is None:
                    return

    async def _unpinned(
        self, pairs: list[tuple[Environment, Deployment | None]]
    ) -> list[tuple[Environment, Deployment | None]]:
        pinned = await self._store.read(lambda tx: {e.id for e, _ in pairs if pin_of(tx, e.id).pinned})
        return [pair for pair in pairs if pair[0].id not in pinned]

    def _rotate(self, tx: Transaction, environment_id: str) -> None:
        """Delete a manual preview; suspend a pull request's, so that its page says why it stopped."""
        environment = tx.environment(environment_id)
        if environment is None or not environment.desired.should_run:
            return
        if environment.change is None and environment.serving is not None:
            self._desired_state.delete(tx, environment)
            return
        suspension = Suspension(
            SuspensionReason.NO_ROOM,
            f"The limit of {self._limit} previews is reached.",
            "It comes back with the next push, when the pull request is reopened, or when it is launched."
            if environment.change
            else "Kill another preview, then launch this one again.",
        )
        tx.save_environment(replace(environment, desired=environment.desired.suspended(suspension)))


def _others(tx: Transaction, newest: Environment) -> list[tuple[Environment, Deployment | None]]:
    """All other previews that should run, the one that was started first comes first."""
    present = [
        e
        for e in tx.environments(present=True)
        if e.desired.should_run and e.id != newest.id and not e.key.is_of_snapshot
    ]
    pairs = [(e, tx.deployment_of(e.id, e.desired.generation)) for e in present]
    return sorted(pairs, key=lambda pair: _started_at(tx, *pair))


def _started_at(tx: Transaction, environment: Environment, deployment: Deployment | None) -> datetime:
    started = deployment.created_at if deployment else environment.created_at
    return max(started, pin_of(tx, environment.id).extended_at or started)


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
