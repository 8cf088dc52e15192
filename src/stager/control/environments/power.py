"""Puts previews to sleep and wakes them: commands of people, requests of visitors, and the loops of
`control.power`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from stager.control.environments.desired_state import DesiredState
from stager.control.environments.lookup import existing
from stager.control.environments.queries import Queries
from stager.control.environments.scheduler import Scheduler, Wake
from stager.domain.environment import Depth, Environment
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)


class Power:
    """Changes whether previews sleep.

    Args:
        wake_worker: wakes the worker of an environment.
    """

    def __init__(
        self,
        store: Store,
        desired_state: DesiredState,
        queries: Queries,
        scheduler: Scheduler,
        wake_worker: Wake,
    ) -> None:
        self._store = store
        self._desired_state = desired_state
        self._queries = queries
        self._scheduler = scheduler
        self._wake_worker = wake_worker
        self._uses: Counter[str] = Counter()

    @contextmanager
    def in_use(self, environment_id: str) -> Iterator[None]:
        """Within the context, the preview is in use though it isn't requested: a terminal is open."""
        self._uses[environment_id] += 1
        try:
            yield
        finally:
            self._uses[environment_id] -= 1

    def is_in_use(self, environment_id: str) -> bool:
        """See `in_use`."""
        return self._uses[environment_id] > 0

    async def sleep_by(self, environment_id: str, actor: Actor) -> Environment:
        """Put a preview to sleep, unless a request to it is open.

        Raises:
            Refused: there is no environment of this id; `not-at-rest`.
        """
        async with self._queries.acting(environment_id, actor, Action.SLEEP):
            return await self.sleep(environment_id)

    async def wake_by(self, environment_id: str, actor: Actor) -> Environment:
        """Wake a preview; no effect on one that doesn't sleep.

        Raises:
            Refused: there is no environment of this id.
        """
        async with self._queries.acting(environment_id, actor, Action.WAKE):
            environment = await self._store.write(
                lambda tx: self._desired_state.wake(tx, existing(tx, environment_id))
            )
            log.info("wake", environment=environment.id, name=environment.name)
            await self._scheduler.show_and_schedule(environment)
        return environment

    async def sleep(
        self, environment_id: str, depth: Depth = Depth.PAUSED, min_idle: float = 0.0
    ) -> Environment:
        """Put a preview to sleep.

        Args:
            min_idle: seconds without a request; with a later one, the preview stays awake.

        Raises:
            Refused: there is no environment of this id; `not-at-rest`.
        """
        environment = await self._store.write(
            lambda tx: self._desired_state.sleep(tx, existing(tx, environment_id), depth, min_idle)
        )
        log.info("sleep", environment=environment.id, name=environment.name, depth=environment.desired.depth)
        self._wake_worker(environment_id)
        return environment

    async def wake_host(self, host: str) -> None:
        """Wake the preview of this host for a request that the front holds."""

        def work(tx: Transaction) -> Environment | None:
            found = tx.environment_by_host(host)
            return self._desired_state.wake(tx, found) if found else None

        found = await self._store.read(lambda tx: tx.environment_by_host(host))
        if found is None:
            return
        if found.desired.is_asleep:
            await self._store.write(work)
            log.info("wake", environment=found.id, name=found.name, host=host)
        self._wake_worker(found.id)
