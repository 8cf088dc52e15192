"""Events of the front: instances that it can't reach, its restarts, and previews that stopped answering, as
it observes from visitors' requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import structlog

from stager.control.diagnostics import Readiness
from stager.control.environments.package import Environments
from stager.control.ports import Ports
from stager.control.routing.route_table import Routes
from stager.domain.attempt import after_silence, after_sound, has_gone_silent
from stager.domain.errors import StagerError
from stager.domain.route import Endpoint
from stager.domain.traffic import FrontEvent, FrontEventKind
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)


class FrontEvents:
    """Follows the front's events and reads its health.

    Args:
        wake: wakes the worker of an environment.
    """

    def __init__(
        self,
        ports: Ports,
        routes: Routes,
        environments: Environments,
        readiness: Readiness,
        wake: Callable[[str], None],
    ) -> None:
        self._store, self._router = ports.store, ports.router
        self._routes = routes
        self._change_feed, self._power = environments.change_feed, environments.power
        self._readiness = readiness
        self._wake = wake
        self._liveness = Liveness(ports.store)

    async def follow(self) -> None:
        """React to events until the stream ends."""
        async for event in self._router.events():
            try:
                await self._react(event)
            except StagerError as error:
                log.warning("event_failed", source="front", reason=error.reason, error=error.message)

    async def _react(self, event: FrontEvent) -> None:
        if event.kind is FrontEventKind.WAKE and not self._contradicts_table(event):
            await self._power.wake_host(event.host)
            return
        if event.kind in {FrontEventKind.CONNECTED, FrontEventKind.WAKE}:
            await self._routes.resend()
        await self.read_health()
        if not event.host:
            return
        found = await self._store.read(lambda tx: tx.environment_by_host(event.host))
        if found is not None:
            self._wake(found.id)

    def _contradicts_table(self, event: FrontEvent) -> bool:
        """Whether the front holds requests to a host that leads to an endpoint by the table: it missed a
        change."""
        target = self._routes.table.routes.get(event.host)
        return event.kind is FrontEventKind.WAKE and isinstance(target, Endpoint)

    async def read_health(self) -> None:
        """Report how the front is, and store which previews stopped answering."""
        health = await self._router.health()
        self._readiness.report("routes", health.problem)
        for environment_id in await self._liveness.compare(health.unresponsive):
            self._change_feed.changed(environment_id)


class Liveness:
    """Records which live previews no longer answer.

    Args:
        store: has the deployments that serve.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: frozenset[str] | None = None

    async def compare(self, unresponsive: frozenset[str]) -> list[str]:
        """Store the changes. Returns the ids of the environments that changed.

        Args:
            unresponsive: all hosts that are unresponsive now.
        """
        before = self._known
        if before == unresponsive:
            return []
        changed = await self._store.write(lambda tx: _save(tx, unresponsive, before))
        self._known = unresponsive
        for environment_id, is_unresponsive in changed:
            log.warning("unresponsive" if is_unresponsive else "responsive", environment=environment_id)
        return [environment_id for environment_id, _ in changed]


def _save(
    tx: Transaction, unresponsive: frozenset[str], before: frozenset[str] | None
) -> list[tuple[str, bool]]:
    """Returns the environments that changed, each with whether it is unresponsive now. The first call
    compares all."""
    hosts: Iterable[str] = (
        {environment.host for environment in tx.environments(present=True)}
        if before is None
        else unresponsive ^ before
    )
    changed = []
    for host in hosts:
        found = tx.environment_by_host(host)
        environment = found if found and found.host == host else None  # not of a service beside the main one
        serving = environment.serving if environment else None
        deployment = tx.deployment_of(environment.id, serving) if environment and serving else None
        is_unresponsive = host in unresponsive
        if (
            environment is None
            or deployment is None
            or has_gone_silent(deployment.attempt) == is_unresponsive
        ):
            continue
        attempt = after_silence(deployment.attempt) if is_unresponsive else after_sound(deployment.attempt)
        if attempt != deployment.attempt:
            tx.save_deployment(replace(deployment, attempt=attempt))
            changed.append((environment.id, is_unresponsive))
    return changed
