"""Keeps the number of previews within bounds: one too many makes another go, or doesn't get any room itself.

It is looked at after a wish was written down, so that nobody goes for a launch that is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog

from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.desired_state import DesiredState
from stager.control.environments.pins import kept_of
from stager.control.plugins.api import preview_of
from stager.control.plugins.invoker import Invoker
from stager.control.routing.urls import Urls
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, Suspension, SuspensionReason
from stager.domain.errors import StagerError
from stager.ports.handlers import ContainerRotationStrategy, Preview
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)


class Capacity:
    """Has at most `limit` previews wanted at a time.

    Args:
        limit: None for any number.
        strategy: who chooses which goes; None: the oldest.
    """

    def __init__(
        self,
        *,
        store: Store,
        desired_state: DesiredState,
        addresses: Urls,
        watch: ChangeFeed,
        wake: Callable[[str], None],
        invoker: Invoker,
        limit: int | None,
        strategy: ContainerRotationStrategy | None = None,
    ) -> None:
        self._store = store
        self._desired_state = desired_state
        self._addresses = addresses
        self._watch = watch
        self._wake = wake
        self._invoker = invoker
        self._limit = limit
        self._strategy = strategy
        self._turn = asyncio.Lock()

    async def make(self, newest: Environment) -> None:
        """Have room for this one, which is wanted already."""
        if self._limit is None:
            return
        async with self._turn:
            while len(others := await self._store.read(lambda tx: _others(tx, newest))) >= self._limit:
                victim = await self._chosen(await self._movable(others))
                going = victim.id if victim else newest.id
                await self._store.write(lambda tx, id_=going: self._rotated(tx, id_))  # type: ignore[misc]
                log.info("rotated", environment=going, for_environment=newest.id, limit=self._limit)
                self._watch.changed(going)
                self._wake(going)
                if victim is None:
                    return

    async def _movable(self, others: list[tuple[Environment, Deployment | None]]) -> list[Preview]:
        """Those of them that nobody has pinned."""
        pinned = await self._store.read(lambda tx: {e.id for e, _ in others if kept_of(tx, e.id).pinned})
        return [preview_of(*pair, self._addresses) for pair in others if pair[0].id not in pinned]

    async def _chosen(self, previews: list[Preview]) -> Preview | None:
        if self._strategy is None or not previews:
            return next(iter(previews), None)
        try:
            answer = await self._invoker.ask(self._strategy, "to_rotate", previews)
        except StagerError as error:
            log.warning("rotation_by_age", reason=error.reason, error=error.message)
            return previews[0]
        if answer is not None and answer not in previews:
            log.warning("rotation_by_age", error=f"{type(self._strategy).__name__} chose none of them")
            return previews[0]
        return next((p for p in previews if p == answer), None)

    def _rotated(self, tx: Transaction, environment_id: str) -> None:
        """Like a kill by hand: what belongs to a pull request stays, with a page that says why it stopped."""
        environment = tx.environment(environment_id)
        if environment is None or not environment.desired.should_run:
            return
        if environment.change is None and environment.serving is not None:
            self._desired_state.end(tx, environment)
            return
        suspension = Suspension(
            SuspensionReason.NO_ROOM,
            f"There is no room for this preview: {self._limit} others are there, and no more may be.",
            "It comes back with the next push, when the pull request is reopened, or when it is launched."
            if environment.change
            else "Kill one of the others, then launch this one again.",
        )
        tx.save_environment(replace(environment, desired=environment.desired.suspended(suspension)))


def _others(tx: Transaction, newest: Environment) -> list[tuple[Environment, Deployment | None]]:
    """All that are wanted, but for this one; that which was started longest ago comes first."""
    present = [e for e in tx.environments(present=True) if e.desired.should_run and e.id != newest.id]
    pairs = [(e, tx.deployment_of(e.id, e.desired.generation)) for e in present]
    return sorted(pairs, key=lambda pair: _counts_from(tx, *pair))


def _counts_from(tx: Transaction, environment: Environment, deployment: Deployment | None) -> datetime:
    started = deployment.created_at if deployment else environment.created_at
    return max(started, kept_of(tx, environment.id).extended_at or started)
