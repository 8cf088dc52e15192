"""Removes instances, and what none of an environment uses any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from stager.control.reconciler.context import ObservedState, WorkerContext
from stager.control.reconciler.health_check import LOG_LINES
from stager.control.reconciler.masking import Masks
from stager.domain.environment import Environment, Instance
from stager.domain.errors import Fault, StagerError

log = structlog.get_logger(__name__)


class Retirement:
    """Removes instances."""

    def __init__(self, context: WorkerContext, masks: Masks) -> None:
        self._context, self._masks = context, masks
        self._sweeping = asyncio.Lock()
        self._cleared: dict[str, tuple[bool, int]] = {}
        """By the id of an environment that has had no instance since its networks were removed, what decided
        on its volumes then."""
        self._calls = 0
        self._swept = 0
        """The number of calls of `clear_networks` before the last sweep."""

    async def retire(self, state: ObservedState, instances: Sequence[Instance]) -> None:
        """Drain these instances, then remove them."""
        environment = state.environment
        timeout = self._drain_timeout(environment)
        endpoints = [i.endpoint for i in instances if i.endpoint is not None]
        cut = sum(await asyncio.gather(*(self._context.routes.drain(e, timeout) for e in endpoints)))
        if cut:
            log.info("requests_cut", environment=environment.id, requests=cut)
        for instance in instances:
            await self._remove(state, instance)
        is_last = {i.id for i in state.instances} == {i.id for i in instances}
        if not environment.desired.keeps_instances and is_last:
            await self.clear_networks(environment)

    async def _remove(self, state: ObservedState, instance: Instance) -> None:
        """Remove an instance; its deployment keeps the end of the main service's log."""
        deployment = state.deployments.get(instance.generation)
        is_main = deployment is not None and deployment.is_main(instance.service)
        text = await self._context.instances.logs(instance.id, LOG_LINES) if is_main else ""
        if deployment is not None:
            mask, now = await self._masks.of(state.environment, deployment), self._context.clock.now()
            await self._context.records.save(
                deployment.id, lambda d: replace(d, ended_at=now, log=mask(text) or d.log)
            )
        await self._context.instances.remove(instance.id)

    def expect_networks(self, environment: Environment) -> None:
        """Have `clear_networks_once` look again: this environment has instances, or may get some."""
        self._cleared.pop(environment.id, None)

    async def clear_networks_once(self, environment: Environment) -> None:
        """As `clear_networks`, unless nothing of this environment can have come since the last time. Most
        changes of an environment without instances, such as a pin, have nothing to remove."""
        volumes = environment.keeps_volumes, environment.volume_epoch
        if self._cleared.get(environment.id) != volumes and await self.clear_networks(environment):
            self._cleared[environment.id] = volumes

    async def clear_networks(self, environment: Environment) -> bool:
        """Remove the networks and volumes that nothing uses. A sweep lists everything, so calls that wait for
        one share the next. The full reconciliation repeats what fails here. Returns whether it succeeded."""
        self._calls += 1
        this_call = self._calls
        try:
            async with self._sweeping:
                if self._swept < this_call:
                    calls = self._calls
                    await self._context.instances.sweep(await self._context.records.volume_epochs())
                    self._swept = calls
        except StagerError as error:
            log.warning("networks_left", environment=environment.id, reason=error.reason, error=error.message)
            return False
        return True

    def _drain_timeout(self, environment: Environment) -> float:
        try:
            return self._context.application(environment).drain_timeout
        except Fault:
            return 0.0
