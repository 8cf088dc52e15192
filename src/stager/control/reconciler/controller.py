"""Keeps everything going: one worker for each environment that needs one, and the passes over all of it that
find what was lost."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from stager.control.environments.change_feed import ChangeFeed
from stager.control.pull_requests.resync import Resync
from stager.control.pull_requests.webhooks import WebhookConsumer
from stager.control.reconciler.actions import Actions
from stager.control.reconciler.adoption import adopt
from stager.control.reconciler.liveness import Liveness
from stager.control.reconciler.worker import Worker
from stager.control.routing.edge_proxy import EdgeProxies
from stager.control.routing.route_table import Routes
from stager.control.routing.visitor_access import VisitorAccess
from stager.domain.environment import Environment, Instance, InstanceLabels
from stager.domain.errors import Retry, StagerError
from stager.domain.route import Page
from stager.domain.unexpected import ending_of
from stager.ports.clock import Clock
from stager.ports.engine import Instances
from stager.ports.firewall import Firewall
from stager.ports.router import Router
from stager.ports.store import Store

log = structlog.get_logger(__name__)

PAUSE_AFTER_BUG, LONGEST_PAUSE = 5.0, 60.0
"""Seconds until a loop that failed with an error nobody expected is begun again, at first and in the end."""
FORGET_EVERY = timedelta(hours=1)
KEEP_DELIVERIES = timedelta(days=7)
"""At least, whatever is said of previews: one that comes again in that time isn't worked through twice."""
SWEEP_EVERY = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often the passes go, and how long what is gone is remembered."""

    state: timedelta = timedelta(minutes=1)
    resync: timedelta = timedelta(minutes=5)
    keep_gone: timedelta = timedelta(days=30)


class Controller:
    """Owns the workers and the loops."""

    def __init__(
        self,
        *,
        store: Store,
        instances: Instances,
        router: Router,
        routes: Routes,
        visitor_access: VisitorAccess,
        steps: Actions,
        webhook_consumer: WebhookConsumer,
        resync: Resync | None,
        clock: Clock,
        intervals: Intervals,
        watch: ChangeFeed,
        edge_proxies: EdgeProxies | None = None,
        clear_away: Callable[[], Awaitable[int]] | None = None,
        at_start: Callable[[], Awaitable[None]] | None = None,
        firewall: Firewall | None = None,
    ) -> None:
        self._store = store
        self._instances = instances
        self._router = router
        self._routes = routes
        self._visitor_access = visitor_access
        self._steps = steps
        self._webhook_consumer = webhook_consumer
        self._resync = resync
        self._clock = clock
        self._intervals = intervals
        self._watch = watch
        self._silence = Liveness(store)
        self._edge_proxies = edge_proxies
        self._clear_away = clear_away
        self._at_start = at_start
        self._firewall = firewall
        self._workers: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        self._restarts: dict[str, asyncio.TimerHandle] = {}
        self._survey: dict[str, frozenset[tuple[str, str]]] | None = None
        self._adopted = asyncio.Event()
        self.troubles: dict[str, str] = {"engine": "It wasn't looked at yet."}
        """What keeps Stager from working, by part; empty when all is well."""

    def wake(self, environment_id: str) -> None:
        """Have a worker look at this environment."""
        worker, task = self._workers.get(environment_id, (None, None))
        if worker is not None and task is not None and not task.done():
            worker.wake()
            return
        if (restart := self._restarts.pop(environment_id, None)) is not None:
            restart.cancel()
        worker = Worker(environment_id, self._steps)
        task = asyncio.get_running_loop().create_task(worker.run())
        self._workers[environment_id] = worker, task
        task.add_done_callback(lambda task: self._at_rest(environment_id, task))

    def _at_rest(self, environment_id: str, task: asyncio.Task[None]) -> None:
        if self._workers[environment_id][1] is task:  # else it was woken again in its last moment
            del self._workers[environment_id]
        if task.cancelled() or task.exception() is None:
            return
        log.error("worker_failed", environment=environment_id, exc_info=task.exception())
        if environment_id not in self._workers:
            again = task.get_loop().call_later(LONGEST_PAUSE, self.wake, environment_id)
            self._restarts[environment_id] = again

    async def run(self) -> None:
        """Work until cancelled; then stop the workers where they are. What runs goes on running."""
        try:
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._unending("events of the engine", self._follow_engine))
                loops.create_task(self._unending("events of the front", self._follow_router))
                loops.create_task(self._every("the pass", self._intervals.state, self.look_at_everything))
                loops.create_task(self._every("forgetting", FORGET_EVERY, self._forget))
                if self._clear_away is not None:
                    sweep = self._after_adoption(self._sweep)
                    loops.create_task(self._every("clearing away", SWEEP_EVERY, sweep))
                if self._edge_proxies is not None:
                    loops.create_task(self._edge_proxies.run(self.report))
                # Forges come second: what runs and isn't known would be made anew beside itself otherwise.
                loops.create_task(
                    self._unending("deliveries", self._after_adoption(self._webhook_consumer.run))
                )
                if self._resync is not None:
                    compare = self._after_adoption(self._resync.run)
                    loops.create_task(self._every("the resync", self._intervals.resync, compare))
        finally:
            for restart in self._restarts.values():
                restart.cancel()
            tasks = [task for _, task in self._workers.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _after_adoption(self, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def second() -> None:
            await self._adopted.wait()
            await work()

        return second

    async def _unending(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Begin again with what should never end, whatever it tripped over: one loop's end would be all of
        Stager's.

        Args:
            name: what is done, as troubles and the log call it.
        """
        loop, pause = asyncio.get_running_loop(), PAUSE_AFTER_BUG
        while True:
            recovered = loop.call_later(LONGEST_PAUSE, self.report, name, "")
            began = loop.time()
            fine = await self._tried(name, work) or loop.time() - began > LONGEST_PAUSE
            recovered.cancel()
            pause = PAUSE_AFTER_BUG if fine else min(LONGEST_PAUSE, pause * 2)
            await asyncio.sleep(pause)

    async def _tried(self, name: str, work: Callable[[], Awaitable[object]]) -> bool:
        """Do it once. Whether it ended without an error that nobody expected; such a one is a trouble."""
        try:
            await work()
        except StagerError as error:
            log.warning("loop_interrupted", loop=name, reason=error.reason, error=error.message)
        except Exception as error:
            log.exception("loop_failed", loop=name)
            self.report(name, str(ending_of(error)))
            return False
        return True

    async def _follow_engine(self) -> None:
        await self._follow(self._instances.events, self._engine_event)

    async def _follow_router(self) -> None:
        await self._follow(self._router.unreachable, self._router_event)

    async def _follow(
        self, source: Callable[[], AsyncIterator[str]], react: Callable[[str], Awaitable[None]]
    ) -> None:
        async for event in source():
            try:
                await react(event)
            except StagerError as error:
                log.warning("event_not_followed", reason=error.reason, error=error.message)

    async def _every(self, name: str, interval: timedelta, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            if await self._tried(name, work):
                self.report(name, "")
            await asyncio.sleep(interval.total_seconds())

    async def _engine_event(self, environment_id: str) -> None:
        if environment_id:
            self.wake(environment_id)
        else:
            await self.look_at_everything()

    async def _look_at_front(self) -> None:
        """Learn how the front is, and which previews stopped answering there."""
        health = await self._router.health()
        self.report("routes", health.trouble)
        for environment_id in await self._silence.compare(health.unresponsive):
            self._watch.changed(environment_id)

    async def _router_event(self, host: str) -> None:
        if not host:
            await self._routes.again()
            await self._look_at_front()
            return
        await self._look_at_front()
        found = await self._store.read(lambda tx: tx.environment_by_host(host))
        if found is not None:
            self.wake(found.id)

    async def look_at_everything(self) -> None:
        """One pass over all that there is: adopt, wake whatever changed, and clear away what nobody uses. The
        first one wakes all, because nobody knows what an earlier life left undone."""
        try:
            routed = frozenset(self._routes.table.routes)
            environments = await self._adopt()
            if self._survey is None and self._at_start is not None:
                await self._at_start()
                environments = await self._store.read(lambda tx: tx.environments())
            await self._wake_what_changed(environments)
            await self._instances.sweep()
        except Retry as error:
            self.troubles["engine"] = error.message
            raise
        self.troubles.pop("engine", None)
        await self._drop_strangers(routed - {environment.host for environment in environments})
        await self._visitor_access.renew()
        await self._routes.tidy()
        await self._look_at_front()

    async def _renew_firewall(self, born: Sequence[tuple[Instance, InstanceLabels]]) -> None:
        """Have the rules of these instances in place. While that can't be done, none is started; those that
        run keep the rules that they had."""
        if self._firewall is None:
            return
        try:
            await self._firewall.renew(born)
        except StagerError as error:
            self.report("firewall", error.message)
            log.warning("firewall_not_renewed", reason=error.reason, error=error.message)
        else:
            self.report("firewall", "")

    async def _sweep(self) -> None:
        """Clear away what builds have left behind."""
        gone = await self._clear_away() if self._clear_away else 0
        if gone:
            log.info("swept", things=gone)

    def report(self, part: str, trouble: str) -> None:
        """Have `troubles` say what is the matter with a part; nothing when all is well."""
        if trouble:
            self.troubles[part] = trouble
        else:
            self.troubles.pop(part, None)

    async def _adopt(self) -> list[Environment]:
        """Adopt instances that the store doesn't have. Returns all environments."""
        born = await self._instances.find_with_labels()
        await self._renew_firewall(born)
        now = self._clock.now()
        environments = await self._store.read(lambda tx: tx.environments())
        known = {environment.id for environment in environments}
        unknown = [(instance, labels) for instance, labels in born if labels.environment not in known]
        orphans = await self._store.write(lambda tx: adopt(tx, unknown, now)) if unknown else []
        self._adopted.set()
        for orphan in orphans:
            log.warning("orphan_removed", environment=orphan.environment, instance=orphan.id[:12])
            await self._instances.remove(orphan.id)
        return await self._store.read(lambda tx: tx.environments()) if unknown else environments

    async def _wake_what_changed(self, environments: Sequence[Environment]) -> None:
        seen: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for instance in await self._instances.find():
            seen[instance.environment].add((instance.id, instance.state))
        survey = {environment: frozenset(states) for environment, states in seen.items()}
        before, self._survey = self._survey, survey
        routes = self._routes.table.routes
        for environment in environments:
            changed = before is None or survey.get(environment.id) != before.get(environment.id)
            lost = environment.host not in routes or not _is_as_wished(environment)
            shown = routes.get(environment.host)
            if _is_over(environment) and environment.id not in survey and isinstance(shown, Page):
                if before is None:
                    self._watch.changed(environment.id)  # its end may not have been told
                continue
            if changed or lost or environment.id in self._workers:
                self.wake(environment.id)

    async def _drop_strangers(self, hosts: Iterable[str]) -> None:
        """Delete the routes of these hosts, unless an environment was given one since."""
        unused = await self._store.read(lambda tx: [h for h in hosts if tx.environment_by_host(h) is None])
        for host in unused:
            await self._routes.drop(host)

    async def _forget(self) -> None:
        now, keep_gone = self._clock.now(), self._intervals.keep_gone
        handled = now - max(keep_gone, KEEP_DELIVERIES)
        rows = await self._store.write(
            lambda tx: tx.delete_expired(now - keep_gone, deliveries_before=handled)
        )
        if rows:
            log.info("forgotten", rows=rows)


def _is_over(environment: Environment) -> bool:
    """Whether it is gone, and nobody is led to it any more."""
    return not environment.desired.is_present and environment.serving is None


def _is_as_wished(environment: Environment) -> bool:
    desired = environment.desired
    return environment.serving == (desired.generation if desired.should_run else None)
