"""Brings a generation up: its image is made, an instance of it started, and asked until it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import replace

import structlog

from stager.control.reconciler.container_env import of_instance
from stager.control.reconciler.context import WorkerContext
from stager.control.reconciler.exec_hooks import run_hooks
from stager.control.reconciler.health_check import Readiness
from stager.control.reconciler.observe import ObservedState
from stager.control.reconciler.status_page import Showing
from stager.domain.application import Application
from stager.domain.attempts import after_answer
from stager.domain.deployment import Deployment
from stager.domain.environment import WEB_SERVICE, Environment, Instance, InstanceLabels
from stager.domain.errors import Fault, Retry
from stager.domain.profile import profile_name
from stager.ports.engine import InstanceSpec

log = structlog.get_logger(__name__)

SHOW_EVERY = 1.0
"""Seconds between two changes of a page that shows a build's log."""


class Launching:
    """Takes the steps that lead to an instance that answers."""

    def __init__(self, context: WorkerContext, showing: Showing) -> None:
        self._context = context
        self._showing = showing
        self._readiness = Readiness(context.instances, context.prober, context.firewall)

    async def start(self, state: ObservedState) -> None:
        """Have an instance of the desired generation, and start it."""
        environment, deployment = state.environment, state.current
        if deployment is None:
            raise Fault("The deployment was forgotten.", hint="Launch it again.", reason="deployment-missing")
        application = self._context.application(environment)
        amended = await self._amended(environment, deployment, application)
        async with self._prepared(environment, application):
            deployment = await self._made(environment, deployment, application)
            deployment = await self._context.memory.save(
                deployment.id, lambda d: replace(d, starting_at=d.starting_at or self._context.clock.now())
            )
            await self._showing.tell(environment.id)
            application = application.with_manifest(deployment.manifest)
            made = await self._context.instances.create(
                self._spec(environment, deployment, application, amended)
            )
        await self._run(deployment, made.id)

    def _prepared(
        self, environment: Environment, application: Application
    ) -> AbstractAsyncContextManager[None]:
        """What an instance needs besides its image is made while that is built; what is there isn't waited
        for so long."""
        if application.build is None:
            return nullcontext()
        return self._context.instances.prepared(environment.id, profile_name(environment.desired.trust))

    async def resume(self, state: ObservedState, instance: Instance) -> None:
        """Start an instance that was made but doesn't run."""
        await self._run(state.deployments[instance.generation], instance.id)

    async def check(self, state: ObservedState, instance: Instance) -> None:
        """Wait until the instance answers, then run what is to run in it before anybody is sent there."""
        deployment = state.deployments[instance.generation]
        application = self._context.application(state.environment, deployment)
        ready = await self._readiness.wait(state.environment, application, instance)
        if not _answered_before(deployment, instance):
            await run_hooks(self._context.instances, instance, "after_launch", application.hooks.after_launch)
        await self._context.memory.save(
            deployment.id,
            lambda d: replace(
                d,
                attempt=after_answer(d.attempt, instance),
                manifest=replace(d.manifest, note=ready.note),
            ),
        )
        log.info(
            "instance_answers",
            environment=instance.environment,
            status=ready.status,
            instance=instance.id[:12],
        )

    async def _made(
        self, environment: Environment, deployment: Deployment, application: Application
    ) -> Deployment:
        """The deployment with its image; meanwhile the visitor's page shows how the build goes."""
        news, is_told = asyncio.Event(), False
        image_resolver = asyncio.create_task(
            self._context.image_resolver.made(environment, deployment, application, news.set)
        )
        try:
            while not image_resolver.done():
                await _first_of(image_resolver, news)
                if news.is_set():
                    news.clear()
                    # Others hear that it is being built; of its log only the page.
                    show, is_told = self._showing.page if is_told else self._showing.tell, True
                    with suppress(Retry):  # a page that can't be shown costs no build
                        await show(environment.id)
                    await asyncio.wait({image_resolver}, timeout=SHOW_EVERY)
            return await image_resolver
        finally:
            image_resolver.cancel()
            await asyncio.gather(image_resolver, return_exceptions=True)

    async def _amended(
        self, environment: Environment, deployment: Deployment, application: Application
    ) -> Mapping[str, str]:
        """The variables that pre-launch handlers set, once they agree to the launch: before anything is built
        for it."""

        def all_of(amended: Mapping[str, str]) -> dict[str, str]:
            return self._variables(environment, deployment, application, amended)

        return await self._context.lifecycle.prepare(environment, deployment, all_of)

    def _variables(
        self,
        environment: Environment,
        deployment: Deployment,
        application: Application,
        amended: Mapping[str, str],
    ) -> dict[str, str]:
        url = self._context.urls.url(environment.host)
        return of_instance(application, environment, deployment.revision, url, amended)

    async def _run(self, deployment: Deployment, instance: str) -> None:
        await self._context.instances.start(instance)
        await self._context.memory.save(
            deployment.id,
            lambda d: replace(
                d,
                checking_at=d.checking_at or self._context.clock.now(),
                attempt=replace(d.attempt, retry_at=None),
            ),
        )

    def _spec(
        self,
        environment: Environment,
        deployment: Deployment,
        application: Application,
        amended: Mapping[str, str],
    ) -> InstanceSpec:
        return InstanceSpec(
            labels=_labels(environment, deployment),
            image=deployment.image,
            application=application,
            profile=application.profile_for(environment.desired.trust),
            variables=self._variables(environment, deployment, application, amended),
            fallbacks={"PORT": str(application.port)} if application.port else {},
        )


def _answered_before(deployment: Deployment, instance: Instance) -> bool:
    """Whether this very instance did, in an earlier run; not one that it takes the place of."""
    return deployment.attempt.healthy_run.startswith(f"{instance.id}@")


def _labels(environment: Environment, deployment: Deployment) -> InstanceLabels:
    return InstanceLabels(
        environment=environment.id,
        service=WEB_SERVICE,
        deployment=deployment.id,
        generation=deployment.generation,
        app=environment.app,
        subject=environment.key.subject,
        name=environment.name,
        host=environment.host,
        revision=deployment.revision,
        trust=environment.desired.trust,
        profile=profile_name(environment.desired.trust),
        change=environment.change,
        parameters=environment.desired.parameters,
    )


async def _first_of(task: asyncio.Task[Deployment], event: asyncio.Event) -> None:
    happened = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, happened}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        happened.cancel()
