"""Brings a generation up: resolves its image, starts an instance with its environment variables, waits for
its health check and runs the application's hooks in it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import replace

import structlog

from stager.control.reconciler.context import ObservedState, WorkerContext
from stager.control.reconciler.health_check import HealthCheck
from stager.control.reconciler.status_page import StatusPage
from stager.domain.application import Application
from stager.domain.deployment import Deployment, after_answer, after_start
from stager.domain.environment import Environment, Instance, InstanceLabels, Service
from stager.domain.errors import Fault, Retry
from stager.domain.profile import profile_name
from stager.domain.source import Revision, Trust
from stager.ports.engine import Instances, InstanceSpec

log = structlog.get_logger(__name__)

PAGE_INTERVAL = 1.0
"""Minimum number of seconds between two updates of a page that shows a build's log."""
HOOK_SECONDS = 600.0
LAST_LINES = 30
KILLED = 137
"""128 + SIGKILL."""
KILLED_HINT = (
    "It was killed, most likely because it and the application together exceeded their limit, `memory` in "
    "the configuration."
)


class Rollout:
    """Carries out the actions that lead to a healthy instance."""

    def __init__(self, context: WorkerContext, status_page: StatusPage) -> None:
        self._context = context
        self._status_page = status_page
        self._health_check = HealthCheck(context.instances, context.prober, context.firewall)

    async def start(self, state: ObservedState, service: str) -> None:
        """Create an instance of the desired generation, and start it."""
        environment, deployment = state.environment, state.current
        if deployment is None:
            raise Fault(
                "The deployment isn't in the database.", hint="Launch it again.", reason="deployment-missing"
            )
        application = self._context.application(environment)
        from_handlers = await self._run_pre_launch(environment, deployment, application)
        async with self._prepare_network(environment, application):
            deployment = await self._resolve_image(environment, deployment, application)
            deployment = await self._context.records.save(
                deployment.id, lambda d: replace(d, starting_at=d.starting_at or self._context.clock.now())
            )
            await self._status_page.update(environment.id)
            application = application.with_manifest(deployment.manifest)
            labels = _labels(environment, deployment, service)
            spec = InstanceSpec(
                labels=labels,
                image=deployment.image,
                container=application.container,
                profile=application.profile_for(environment.desired.trust),
                variables=self._variables(environment, deployment, application, from_handlers),
                fallbacks={"PORT": str(application.port)} if application.port else {},
            )
            instance = await self._context.instances.create(spec)
        await self._run(deployment, state.observed.service(deployment.generation, service), instance.id)

    def _prepare_network(
        self, environment: Environment, application: Application
    ) -> AbstractAsyncContextManager[None]:
        """Create the network while the image is built. An image that needn't be built is there sooner."""
        if application.build is None:
            return nullcontext()
        return self._context.instances.prepared(environment.id, profile_name(environment.desired.trust))

    async def resume(self, state: ObservedState, instance: Instance, generation: int) -> None:
        """Start an existing instance that doesn't run."""
        service = state.observed.service(generation, instance.service)
        await self._run(state.deployments[generation], service, instance.id)

    async def check(self, state: ObservedState, instance: Instance, generation: int) -> None:
        """Wait until the instance passes its health check, then run the `after_launch` hooks in it."""
        deployment = state.deployments[generation]
        service = state.observed.service(generation, instance.service)
        application = self._context.application(state.environment, deployment)
        ready = await self._health_check.wait(state.environment, application, instance)
        if not _was_healthy_before(deployment, instance):
            await run_hooks(self._context.instances, instance, "after_launch", application.hooks.after_launch)
        await self._context.records.save(
            deployment.id,
            lambda d: replace(
                d,
                attempt=after_answer(d.attempt, instance, service),
                manifest=replace(d.manifest, note=ready.note),
            ),
        )
        log.info(
            "instance_healthy",
            environment=instance.environment,
            status=ready.status,
            instance=instance.id[:12],
        )

    async def _resolve_image(
        self, environment: Environment, deployment: Deployment, application: Application
    ) -> Deployment:
        """The deployment with its image. The visitor's page shows the build's log meanwhile."""
        log_changed, is_reported = asyncio.Event(), False
        resolving = asyncio.create_task(
            self._context.image_resolver.resolve(environment, deployment, application, log_changed.set)
        )
        try:
            while not resolving.done():
                await _first_of(resolving, log_changed)
                if log_changed.is_set():
                    log_changed.clear()
                    # The start of the build is reported everywhere, its log only on the page.
                    show = self._status_page.show if is_reported else self._status_page.update
                    is_reported = True
                    with suppress(Retry):  # the build goes on without the page
                        await show(environment.id)
                    await asyncio.wait({resolving}, timeout=PAGE_INTERVAL)
            return await resolving
        finally:
            resolving.cancel()
            await asyncio.gather(resolving, return_exceptions=True)

    async def _run_pre_launch(
        self, environment: Environment, deployment: Deployment, application: Application
    ) -> Mapping[str, str]:
        """Run the pre-launch handlers, before anything is built. Returns the variables that they set."""

        def variables(from_handlers: Mapping[str, str]) -> dict[str, str]:
            return self._variables(environment, deployment, application, from_handlers)

        return await self._context.lifecycle.prepare(environment, deployment, variables)

    def _variables(
        self,
        environment: Environment,
        deployment: Deployment,
        application: Application,
        from_handlers: Mapping[str, str],
    ) -> dict[str, str]:
        url = self._context.urls.url(environment.host)
        return of_instance(application, environment, deployment.revision, url, from_handlers)

    async def _run(self, deployment: Deployment, service: Service, instance: str) -> None:
        await self._context.instances.start(instance)
        await self._context.records.save(
            deployment.id,
            lambda d: replace(
                d,
                checking_at=d.checking_at or self._context.clock.now(),
                attempt=after_start(d.attempt, service),
            ),
        )


def _was_healthy_before(deployment: Deployment, instance: Instance) -> bool:
    """Whether an earlier run of this very instance was healthy."""
    return deployment.attempt.healthy_runs.get(instance.service, "").startswith(f"{instance.id}@")


def _labels(environment: Environment, deployment: Deployment, service: str) -> InstanceLabels:
    return InstanceLabels(
        environment=environment.id,
        service=service,
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
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def of_instance(
    application: Application,
    environment: Environment,
    revision: Revision,
    url: str,
    amended: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """All variables of an environment's next instance. Later ones win, so that Stager's can't be forged.

    Args:
        revision: the revision of the instance.
        amended: the variables that handlers set.
    """
    is_ours = environment.desired.trust is Trust.TRUSTED
    return {
        **application.variables,
        **(application.secrets if is_ours else {}),
        **environment.desired.parameters,
        **(amended or {}),
        **_documented(application, environment),
        **_facts(environment, revision, url),
        **({"STAGER_PORT": str(application.port)} if application.port else {}),
    }


def _documented(application: Application, environment: Environment) -> dict[str, str]:
    """The lower-case variables of the walkthrough. `container_name` is the unchanged branch."""
    variables = {"image_name": application.name, "container_name": environment.name, "action": "launch"}
    change = environment.change
    if change is not None:
        variables["repo_owner"] = change.owner
        variables["pull_request_number"] = str(change.number)
    elif application.owner:
        variables["repo_owner"] = application.owner
    return variables


def _facts(environment: Environment, revision: Revision, url: str) -> dict[str, str]:
    change = environment.change
    facts = {
        "STAGER": "1",
        "STAGER_APP": environment.app,
        "STAGER_ENVIRONMENT": environment.id,
        "STAGER_NAME": environment.name,
        "STAGER_URL": url,
        "STAGER_HOST": environment.host,
        "STAGER_TRUST": environment.desired.trust.value,
        "STAGER_SHA": revision.sha,
        "STAGER_REF": revision.ref or environment.name,
    }
    if change is not None:
        facts |= {
            "STAGER_REPOSITORY": f"{change.owner}/{change.repository}",
            "STAGER_CHANGE": str(change.number),
            "STAGER_BASE_REF": change.base_ref,
            "STAGER_AUTHOR": change.author,
            "STAGER_TITLE": change.title,
        }
    return facts


async def run_hooks(
    instances: Instances, instance: Instance, moment: str, commands: Sequence[Sequence[str]]
) -> None:
    """Run these commands in the instance, one after the other.

    Args:
        moment: the name of the hook for users, such as `after_launch`.

    Raises:
        Fault: `hook-failed`: one of them failed or took too long; the others aren't run then.
        Retry: the engine doesn't answer.
    """
    for command in commands:
        ran = await instances.run(instance.id, command, HOOK_SECONDS)
        log.info("hook_ran", environment=instance.environment, moment=moment, exit_code=ran.exit_code)
        if ran.exit_code != 0:
            ended = (
                f"took over {HOOK_SECONDS:g} s"
                if ran.exit_code is None
                else f"ended with exit code {ran.exit_code}"
            )
            raise Fault(
                f"The {moment} hook `{shlex.join(command)}` {ended}.",
                hint=KILLED_HINT
                if ran.exit_code == KILLED
                else "It runs in the working directory of the instance. Check the last lines of its output.",
                reason="hook-failed",
                detail="\n".join(ran.output.splitlines()[-LAST_LINES:]),
            )
