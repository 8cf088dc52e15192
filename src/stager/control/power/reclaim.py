"""The loop that takes the memory of paused previews back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog

from stager.control.environments.visits import Visits, all_visits
from stager.control.ports import Ports
from stager.domain.environment import Depth, Environment, InstanceState
from stager.domain.errors import StagerError
from stager.ports.store import Transaction

log = structlog.get_logger(__name__)

RECLAIM_AFTER = timedelta(minutes=1)
"""How long a preview must have slept. Visitors often return within seconds; reading the memory back from swap
would slow them down."""


class Reclamation:
    """Moves the memory of paused instances to swap, once for each sleep. What was done is kept in memory
    only: after a restart it is repeated, without effect."""

    def __init__(self, ports: Ports) -> None:
        self._store, self._clock = ports.store, ports.clock
        self._instances, self._power = ports.instances, ports.power
        self._done: set[str] = set()
        """The runs (see `Instance.run`) that sleep and whose memory was taken back."""

    async def run(self) -> None:
        """Reclaim the memory of all that have slept long enough.

        Raises:
            Retry: the engine doesn't answer.
        """
        if not (await self._power.reclaim_support()).works:
            return
        now = self._clock.now()
        asleep = await self._store.read(_asleep)
        self._done &= {run for environment, _ in asleep for run in environment.asleep_runs}
        for environment, visits in asleep:
            if not environment.asleep_runs <= self._done and _has_slept(visits, now):
                await self._reclaim(environment)

    async def _reclaim(self, environment: Environment) -> None:
        given_back = 0
        for instance in await self._instances.find(environment.id):
            if instance.state is not InstanceState.PAUSED or instance.run in self._done:
                continue
            try:
                given_back += await self._power.reclaim(instance.id) or 0
            except StagerError as error:
                log.warning(
                    "reclaim_failed", environment=environment.id, reason=error.reason, error=error.message
                )
                return
        self._done |= environment.asleep_runs
        log.info("memory_reclaimed", environment=environment.id, bytes=given_back)


def _asleep(tx: Transaction) -> list[tuple[Environment, Visits]]:
    visits = all_visits(tx)
    return [(each, visits.get(each.id, Visits())) for each in _paused(tx.environments(present=True))]


def _paused(environments: Iterable[Environment]) -> Iterable[Environment]:
    return (e for e in environments if e.desired.is_asleep and e.desired.depth is Depth.PAUSED)


def _has_slept(visits: Visits, now: datetime) -> bool:
    return visits.since is None or now - visits.since >= RECLAIM_AFTER
