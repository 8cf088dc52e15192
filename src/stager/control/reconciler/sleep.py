"""Puts environments to sleep and wakes them: parks them in the front, pauses, stops and unpauses their
instances."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from stager.control.reconciler.context import ObservedState, WorkerContext
from stager.control.reconciler.status_page import StatusPage
from stager.domain import plan as planning
from stager.domain.environment import Instance, InstanceState

log = structlog.get_logger(__name__)


class Sleep:
    """Carries out the actions of sleep and wake."""

    def __init__(self, context: WorkerContext, status_page: StatusPage) -> None:
        self._context = context
        self._status_page = status_page

    async def carry_out(self, state: ObservedState, action: planning.Power) -> None:
        """Carry out one of these actions."""
        match action:
            case planning.Park(services):
                await self._park(state, services)
            case planning.Pause(instances):
                await self._record(state, instances)
                for instance in instances:
                    await self._context.power.pause(instance.id)
            case planning.Halt(instances):
                await self._halt(state, instances)
            case planning.Unpause(instances):
                for instance in instances:
                    await self._context.power.unpause(instance.id)
            case planning.EndSleep():
                await self._context.records.serving(state.environment.id, state.serving_generation)

    async def _park(self, state: ObservedState, services: frozenset[str]) -> None:
        """Show the page of a sleeping preview on the hosts of these services, unless one was requested
        meanwhile."""
        environment = state.environment
        running = [i for i in state.instances if i.state is InstanceState.RUNNING]
        await self._record(state, running)
        hosts = {host for name, host in state.hosts.items() if name in services}
        if await self._status_page.park(environment, hosts):
            log.info("parked", environment=environment.id, idle=environment.desired.min_idle)
            return
        await self._context.records.awake(environment.id, environment.desired.generation)
        log.info("sleep_refused", environment=environment.id, idle=environment.desired.min_idle)

    async def _halt(self, state: ObservedState, instances: Sequence[Instance]) -> None:
        """Stop these instances in this order. All are unpaused first: one that stops may need another."""
        await self._record(state, instances)
        for instance in reversed(instances):
            if instance.state is InstanceState.PAUSED:
                await self._context.power.unpause(instance.id)
        for instance in instances:
            await self._context.instances.stop(instance.id)

    async def _record(self, state: ObservedState, instances: Sequence[Instance]) -> None:
        runs = frozenset(instance.run for instance in instances)
        if not runs <= state.asleep_runs:
            await self._context.records.put_to_sleep(state.environment.id, runs)
