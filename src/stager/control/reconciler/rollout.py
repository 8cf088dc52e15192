"""Brings instances up: creates and starts one for a service, waits until it is healthy, and runs the
application's hooks in it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from stager.control.reconciler.context import ObservedState, WorkerContext
from stager.control.reconciler.health_check import HealthCheck
from stager.control.reconciler.hooks import run_hooks
from stager.control.reconciler.instance_specs import spec_of
from stager.control.reconciler.preparation import Preparation
from stager.control.reconciler.service_health import CheckedService, ServiceHealth
from stager.control.reconciler.variables import secret_in
from stager.domain import plan as planning
from stager.domain.attempt import after_answer, after_start
from stager.domain.deployment import DeployedService, Deployment
from stager.domain.environment import Instance, Service
from stager.domain.errors import Fault
from stager.domain.service import ServiceSpec

log = structlog.get_logger(__name__)

CONCURRENT_STARTS = 8
"""Maximum number of instances that are started at the same time. Docker starts no more of them in a second
when more are requested (measured on two cores: 32 containers took the same time 8 at a time), and the rest of
the machine gets less CPU."""

BringingUp = planning.Prepare | planning.Start | planning.Join | planning.Resume | planning.Check


class Rollout:
    """Carries out the actions that lead to healthy instances of a prepared deployment."""

    def __init__(self, context: WorkerContext, preparation: Preparation) -> None:
        self._context = context
        self._preparation = preparation
        self._main_health = HealthCheck(context.instances, context.prober, context.firewall)
        self._service_health = ServiceHealth(context.instances, context.prober)
        self._starting = asyncio.Semaphore(CONCURRENT_STARTS)

    async def carry_out(self, state: ObservedState, action: BringingUp) -> None:
        """Carry out one of these actions."""
        match action:
            case planning.Prepare():
                await self._preparation.prepare(state)
            case planning.Start(generation, service):
                await self._start(state, generation, service)
            case planning.Join(instance, generation):
                await self._context.instances.join(instance.id, generation)
            case planning.Resume(instance, generation):
                planned = state.service(generation, instance.service)
                await self._run(state.deployments[generation], planned, instance.id)
                self._count_restart(state, instance)
            case planning.Check(instance, generation):
                await self._check(state, instance, generation)

    async def _start(self, state: ObservedState, generation: int, name: str) -> None:
        """Create an instance of a service, and start it."""
        deployment = state.deployments[generation]
        service = deployment.service(name)
        if service is None:
            raise Fault(f'The deployment has no service "{name}".', reason="service-missing")
        launch = await self._preparation.launch(state.environment, deployment)
        contents = await self._context.image_resolver.stacks.contents(
            state.environment, deployment.revision.sha, launch.application, service.spec
        )
        try:
            instance = await self._context.instances.create(spec_of(launch, service, contents))
        except Fault as error:
            if not await self._is_outdated(service, error):
                raise
            log.warning(
                "prepared_again", environment=state.environment.id, image=service.image, reason=error.reason
            )
            # Without services it is prepared again, which builds or pulls the image, or chooses a snapshot.
            await self._context.records.save(deployment.id, lambda d: replace(d, services=()))
            return
        await self._run(deployment, service.planned, instance.id)

    async def _is_outdated(self, service: DeployedService, error: Fault) -> bool:
        """Whether the image was removed, or the snapshot deleted, since the deployment was prepared."""
        if error.reason == "snapshot-missing":
            return not await self._context.records.are_ready(filter(None, service.clones.values()))
        return not await self._context.image_resolver.exists(service.image)

    def _count_restart(self, state: ObservedState, instance: Instance) -> None:
        is_new = not instance.started_at  # created, and interrupted before its first start
        if is_new or instance.run in state.asleep_runs:
            return
        application = self._context.applications.find(state.environment.app)
        named = application.declared.names if application else frozenset()
        service = instance.service if instance.service in named else ""
        self._context.metrics.restarted(state.environment.app, service)

    async def _check(self, state: ObservedState, instance: Instance, generation: int) -> None:
        """Wait until the instance passes its health check, then run its `after_launch` hooks."""
        deployment = state.deployments[generation]
        service = deployment.service(instance.service) or _adopted(instance, state)
        note = deployment.manifest.note
        if service.is_main:
            note = await self._check_main(state, deployment, instance)
        check = service.spec.check
        if not service.is_main or (check is not None and (check.command or check.port)):
            await self._check_service(state, deployment, service, instance)
        if not _was_healthy_before(deployment, instance):
            hooks = self._context.application(state.environment, deployment).hooks.after_launch
            await run_hooks(self._context.instances, instance, "after_launch", hooks, is_main=service.is_main)
        await self._context.records.save(
            deployment.id,
            lambda d: replace(
                d,
                attempt=after_answer(d.attempt, instance, service.planned),
                manifest=replace(d.manifest, note=note),
            ),
        )

    async def _check_main(self, state: ObservedState, deployment: Deployment, instance: Instance) -> str:
        """Returns a note to show with the environment."""
        application = self._context.application(state.environment, deployment)
        ready = await self._main_health.wait(state.environment, application, instance)
        log.info(
            "instance_healthy",
            environment=instance.environment,
            status=ready.status,
            instance=instance.id[:12],
        )
        return ready.note

    async def _check_service(
        self, state: ObservedState, deployment: Deployment, service: DeployedService, instance: Instance
    ) -> None:
        application = self._context.application(state.environment, deployment)
        environment, key = state.environment, self._context.key
        checked = CheckedService(
            service,
            instance,
            service.host or environment.host,
            application.start_timeout,
            lambda name: secret_in(environment, deployment, name, key),
        )
        await self._service_health.wait(checked)

    async def _run(self, deployment: Deployment, service: Service, instance: str) -> None:
        async with self._starting:
            await self._context.burst.over()
            await self._context.instances.start(instance)
        await self._context.records.save(
            deployment.id,
            lambda d: replace(
                d,
                checking_at=d.checking_at or self._context.clock.now(),
                attempt=after_start(d.attempt, service),
            ),
        )


def _adopted(instance: Instance, state: ObservedState) -> DeployedService:
    """The service of an instance whose deployment isn't prepared, such as after the database was lost."""
    planned = state.service(instance.generation, instance.service)
    return DeployedService(ServiceSpec(instance.service), "", is_main=planned.is_main)


def _was_healthy_before(deployment: Deployment, instance: Instance) -> bool:
    """Whether an earlier run of this very instance was healthy."""
    return instance.has_run(deployment.attempt.healthy_runs.get(instance.service, ""))
