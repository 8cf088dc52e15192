"""Sends the requests for an environment to its instances, or answers them with a page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

import structlog

from stager.control.reconciler.context import ObservedState, WorkerContext
from stager.control.reconciler.hooks import run_hooks
from stager.control.reconciler.status_page import StatusPage
from stager.domain.deployment import Deployment
from stager.domain.environment import WEB_SERVICE, Environment, Instance, InstanceState
from stager.domain.errors import Fault
from stager.domain.generation import Generation
from stager.domain.recipe import Hook

log = structlog.get_logger(__name__)


class Publication:
    """Changes the routes of environments."""

    def __init__(self, context: WorkerContext, status_page: StatusPage) -> None:
        self._context = context
        self._status_page = status_page

    async def publish(self, state: ObservedState, generation: int, instances: Sequence[Instance]) -> None:
        """Route all hosts of a generation to its instances in one change. Its other hosts show a page. Hosts
        of services that it doesn't have are given up, except those that the desired generation has."""
        environment, deployment = state.environment, state.deployments[generation]
        hosts = _hosts(deployment, environment)
        known = {**state.hosts, **hosts}
        targets = {known[each.service]: each.endpoint for each in instances if each.endpoint is not None}
        if len(targets) < len(instances):
            return
        wanted = {*hosts, *(_hosts(state.current, environment) if state.current else ())}
        unused = {host for name, host in state.hosts.items() if name not in wanted} - targets.keys()
        is_first = deployment.live_at is None
        await self._context.visitor_access.route(environment, targets, drop=unused - {environment.host})
        if unused:
            await self._context.records.keep_hosts(environment.id, wanted)
            await self._context.visitor_access.renew(environment)
        await self._context.records.live(environment.id, deployment.id, self._context.clock.now())
        published = {host for name, host in state.hosts.items() if name in state.published}
        if others := published - targets.keys() - unused:
            await self._status_page.show(environment.id, over=others)
        url = self._context.urls.url(environment.host)
        log.info("published", environment=environment.id, deployment=deployment.id, url=url)
        if is_first:
            took = self._context.clock.now() - deployment.created_at
            self._context.metrics.live(environment.app, took)

    async def unpublish(self, state: ObservedState, services: Collection[str]) -> None:
        """Show a page on the hosts of these services."""
        environment = state.environment
        if not environment.desired.keeps_instances:
            await self._run_pre_kill(state)
        hosts = {host for name, host in state.hosts.items() if name in services}
        if environment.host in hosts or not environment.desired.keeps_instances:
            await self._context.records.serving(environment.id, None)
        await self._status_page.show(environment.id, over=hosts)

    async def _run_pre_kill(self, state: ObservedState) -> None:
        """Run the pre-kill handlers, then the `before_kill` hooks in their services. They delay the removal,
        and can't prevent it."""
        environment = state.environment
        deployment = state.deployments.get(environment.serving or environment.desired.generation)
        await self._context.lifecycle.killing(environment, deployment)
        if deployment is not None:
            await self._run_before_kill(state, deployment)

    async def _run_before_kill(self, state: ObservedState, deployment: Deployment) -> None:
        """Run the hooks in the order of the configuration. One that fails ends those of its service."""
        environment = state.environment
        generation = Generation.of(state, deployment.generation, environment.desired)
        hooks = self._hooks(environment, deployment)
        for name in dict.fromkeys(hook.service for hook in hooks):
            instance = _running(generation, name)
            if instance is None:
                continue
            own = [hook for hook in hooks if hook.service == name]
            try:
                await run_hooks(self._context.instances, instance, "before_kill", own, is_main=not name)
            except Fault as error:
                log.warning(
                    "hook_failed",
                    environment=environment.id,
                    service=instance.service,
                    error=error.message,
                    detail=error.detail,
                )

    def _hooks(self, environment: Environment, deployment: Deployment) -> tuple[Hook, ...]:
        with suppress(Fault):  # the application isn't in the configuration any more
            return self._context.application(environment, deployment).hooks.before_kill
        return ()


def _running(generation: Generation, name: str) -> Instance | None:
    """The running instance of a generation's service; of the main one for an empty name."""
    services = (each.name for each in generation.services if (each.name == name if name else each.is_main))
    found = generation.instances.get(next(services, ""))
    return found if found is not None and found.state is InstanceState.RUNNING else None


def _hosts(deployment: Deployment, environment: Environment) -> dict[str, str]:
    """The hosts of a deployment's routed services, by name."""
    if not deployment.services:
        return {WEB_SERVICE.name: environment.host}
    return {each.name: each.host_in(environment) for each in deployment.services if each.is_routed}
