"""The full reconciliation: compares everything that exists with what should exist. It runs at the start and
at an interval, and repairs what events have missed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import structlog

from stager.control.diagnostics import Readiness
from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.records import volume_epochs
from stager.control.ports import Ports
from stager.control.reconciler.adoption import adopt
from stager.control.reconciler.config_retries import ConfigRetries
from stager.control.reconciler.front_events import FrontEvents
from stager.control.reconciler.worker import Workers
from stager.control.routing.package import Routing
from stager.domain.environment import Depth, Environment, Instance, InstanceLabels, InstanceState
from stager.domain.errors import Retry, StagerError
from stager.domain.route import Page

log = structlog.get_logger(__name__)

Survey = dict[str, frozenset[tuple[str, str]]]
"""The id and the state of each instance, by environment."""


class FullReconciliation:
    """Adopts unknown instances, wakes workers, and removes what nothing uses.

    Attributes:
        adopted: set once running instances were adopted.
    """

    def __init__(
        self,
        ports: Ports,
        routing: Routing,
        change_feed: ChangeFeed,
        readiness: Readiness,
        workers: Workers,
        front_events: FrontEvents,
        retries: ConfigRetries,
    ) -> None:
        self._store, self._clock = ports.store, ports.clock
        self._instances, self._firewall = ports.instances, ports.firewall
        self._routing = routing
        self._change_feed = change_feed
        self._readiness = readiness
        self._workers = workers
        self._front_events = front_events
        self._retries = retries
        self._survey: Survey | None = None
        self.adopted = asyncio.Event()

    async def run(self) -> None:
        """Reconcile everything once. The first run wakes all workers, because the last process may have left
        work unfinished.

        Raises:
            Retry: the engine or the front doesn't answer.
        """
        try:
            routed = frozenset(self._routing.routes.table.routes)
            environments = await self._adopt()
            if self._survey is None:
                await self._retries.begin()
                environments = await self._store.read(lambda tx: tx.environments())
            hosts = await self._store.read(lambda tx: tx.all_service_hosts())
            await self._wake_changed(environments, hosts)
            epochs = await self._store.read(lambda tx: volume_epochs(tx, environments))
            await self._instances.sweep(epochs)
        except Retry as error:
            self._readiness.report("engine", error.message)
            raise
        self._readiness.report("engine", "")
        of_services = {host for each in hosts.values() for host in each.values()}
        await self._drop_routes(routed - {each.host for each in environments} - of_services)
        await self._routing.visitor_access.renew()
        await self._routing.routes.tidy()
        await self._front_events.read_health()

    async def follow_engine(self) -> None:
        """Wake the worker of each environment whose instances change; reconcile everything if events may have
        been missed."""
        async for environment_id in self._instances.events():
            try:
                self._change_feed.instances_changed(environment_id)
                if environment_id:
                    self._workers.wake(environment_id)
                else:
                    await self.run()
            except StagerError as error:
                log.warning("event_failed", source="engine", reason=error.reason, error=error.message)

    async def _adopt(self) -> list[Environment]:
        """Adopt instances that the store doesn't have. Returns all environments."""
        found = await self._instances.find_with_labels()
        await self._renew_firewall(found)
        now = self._clock.now()
        environments = await self._store.read(lambda tx: tx.environments())
        known = {environment.id for environment in environments}
        unknown = [(instance, labels) for instance, labels in found if labels.environment not in known]
        orphans = await self._store.write(lambda tx: adopt(tx, unknown, now)) if unknown else []
        self.adopted.set()
        for orphan in orphans:
            log.warning("orphan_removed", environment=orphan.environment, instance=orphan.id[:12])
            await self._instances.remove(orphan.id)
        return await self._store.read(lambda tx: tx.environments()) if unknown else environments

    async def _renew_firewall(self, instances: Sequence[tuple[Instance, InstanceLabels]]) -> None:
        """Apply the firewall rules of these instances. While that fails, no instance is started; those that
        run keep their rules."""
        if self._firewall is None:
            return
        try:
            await self._firewall.renew(instances)
        except StagerError as error:
            self._readiness.report("firewall", error.message)
            log.warning("firewall_not_renewed", reason=error.reason, error=error.message)
        else:
            self._readiness.report("firewall", "")

    async def _wake_changed(
        self, environments: Sequence[Environment], hosts: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Wake the worker of each environment that has changed since the last run, or isn't in its desired
        state.

        Args:
            hosts: of services, by the id of the environment.
        """
        survey = await self._take_survey()
        before, self._survey = self._survey, survey
        routes = self._routing.routes.table.routes
        for environment in environments:
            has_changed = before is None or survey.get(environment.id) != before.get(environment.id)
            own_hosts = {environment.host, *hosts.get(environment.id, {}).values()}
            has_no_route = not own_hosts <= routes.keys()
            is_paged = isinstance(routes.get(environment.host), Page)
            if _is_removed(environment) and environment.id not in survey and is_paged and not has_no_route:
                if before is None:
                    self._change_feed.changed(environment.id)  # its removal may not have been reported
                continue
            is_at_rest = _serves_desired(environment) and _sleeps_as_desired(
                environment, {state for _, state in survey.get(environment.id, ())}, is_paged=is_paged
            )
            if has_changed or has_no_route or not is_at_rest or environment.id in self._workers:
                self._workers.wake(environment.id)

    async def _take_survey(self) -> Survey:
        found: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for instance in await self._instances.find():
            found[instance.environment].add((instance.id, instance.state))
        return {environment: frozenset(states) for environment, states in found.items()}

    async def _drop_routes(self, hosts: Iterable[str]) -> None:
        """Remove the routes of these hosts, unless an environment was given one since."""
        unused = await self._store.read(lambda tx: [h for h in hosts if tx.environment_by_host(h) is None])
        for host in unused:
            await self._routing.routes.drop(host)


def _is_removed(environment: Environment) -> bool:
    """Whether it should not exist, and no visitor is sent to it."""
    return not environment.desired.is_present and environment.serving is None


def _serves_desired(environment: Environment) -> bool:
    desired = environment.desired
    return environment.serving == (desired.generation if desired.keeps_instances else None)


def _sleeps_as_desired(environment: Environment, states: Collection[str], *, is_paged: bool) -> bool:
    """Whether it sleeps, and as deeply as it should, or is awake.

    Args:
        states: of its instances.
        is_paged: whether its host leads to a page.
    """
    desired = environment.desired
    if not desired.is_asleep:
        return not environment.is_waking
    awake = {InstanceState.RUNNING} | ({InstanceState.PAUSED} if desired.depth is Depth.STOPPED else set())
    return is_paged and awake.isdisjoint(states)
