"""Prepares a deployment: runs the pre-launch handlers and the server hook, resolves its services with their
images, and stores them with their hosts and the digests of their inputs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import replace

from stager.control.builds.images import Resolved
from stager.control.builds.stacks import Request
from stager.control.reconciler.configuration_record import configuration_of
from stager.control.reconciler.context import ObservedState, WorkerContext
from stager.control.reconciler.instance_specs import spec_of
from stager.control.reconciler.status_page import StatusPage
from stager.control.reconciler.variables import Launch, of_service, place, secret_of
from stager.domain.application import Application
from stager.domain.deployment import DeployedService, Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Fault, Retry
from stager.domain.profile import profile_name
from stager.domain.service import MAIN_SERVICE, ServiceSpec
from stager.domain.snapshot import with_clones
from stager.ports.engine import Content

PAGE_INTERVAL = 1.0
"""Minimum number of seconds between two updates of a page that shows a build's log."""


class Preparation:
    """Prepares deployments, and knows what the instances of prepared ones are created from."""

    def __init__(self, context: WorkerContext, status_page: StatusPage) -> None:
        self._context = context
        self._status_page = status_page
        self._amended: dict[str, tuple[str, Mapping[str, str]]] = {}

    async def prepare(self, state: ObservedState) -> None:
        """Prepare the deployment of the desired generation."""
        environment, deployment = state.environment, state.current
        if deployment is None:
            raise Fault(
                "The deployment isn't in the database.", hint="Launch it again.", reason="deployment-missing"
            )
        application = self._context.application(environment)
        amended = await self._run_pre_launch(environment, deployment, application)
        external = await self._context.external.create(environment, deployment, application)
        async with self._prepare_network(environment, deployment, application):
            resolved = await self._resolve(environment, deployment, application)
        await self._save(environment, resolved, amended, external)
        await self._status_page.update(environment.id)

    def amended(self, environment_id: str) -> Mapping[str, str]:
        """The variables that handlers set for the deployment that was prepared last, as far as known."""
        return self._amended.get(environment_id, ("", {}))[1]

    async def launch(self, environment: Environment, deployment: Deployment) -> Launch:
        """What the instances of a prepared deployment are created from. The variables of handlers aren't
        stored, because they may be secrets: after a restart of Stager the handlers are called again."""
        application = self._context.application(environment, deployment)
        known, amended = self._amended.get(environment.id, ("", {}))
        if known != deployment.id:
            amended = await self._run_pre_launch(environment, deployment, application)
        external = await self._context.external.create(environment, deployment, application)
        return self._launch(environment, deployment, application, amended, external)

    def _launch(
        self,
        environment: Environment,
        deployment: Deployment,
        application: Application,
        amended: Mapping[str, str],
        external: Mapping[str, str],
    ) -> Launch:
        urls = {
            each.name: self._context.urls.url(each.host_in(environment))
            for each in deployment.services
            if each.is_routed
        }
        return Launch(environment, deployment, application, urls, self._context.key, amended, external)

    async def _run_pre_launch(
        self, environment: Environment, deployment: Deployment, application: Application
    ) -> Mapping[str, str]:
        """Run the pre-launch handlers, before anything is built. Returns the variables that they set."""
        main = next((each for each in deployment.services if each.is_main), None)
        if main is None:  # the services aren't known yet
            main = DeployedService(ServiceSpec(application.declared.main or MAIN_SERVICE), "", is_main=True)
            deployment = replace(deployment, services=(main,))

        def variables(from_handlers: Mapping[str, str]) -> dict[str, str]:
            launch = self._launch(environment, deployment, application, from_handlers, {})
            return of_service(launch, main).all

        amended = await self._context.lifecycle.prepare(environment, deployment, variables)
        self._amended[environment.id] = deployment.id, amended
        return amended

    def _prepare_network(
        self, environment: Environment, deployment: Deployment, application: Application
    ) -> AbstractAsyncContextManager[None]:
        """Create the network while the image is built. An image that needn't be built is there sooner."""
        if application.build is None:
            return nullcontext()
        declared = application.declared
        is_single = not declared.services and declared.compose is None
        network = 0 if is_single else deployment.generation
        profile = profile_name(environment.desired.trust)
        return self._context.instances.prepared(environment.id, profile, network)

    async def _resolve(
        self, environment: Environment, deployment: Deployment, application: Application
    ) -> Resolved:
        """The services with their images. The visitor's page shows the build's log meanwhile."""
        log_changed, is_reported, key = asyncio.Event(), False, self._context.key
        request = Request(
            environment,
            deployment,
            application,
            lambda name: secret_of(environment.id, name, key),
            lambda services: self._urls(environment, services),
            log_changed.set,
        )
        resolving = asyncio.create_task(self._context.image_resolver.resolve(request))
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

    async def _save(
        self,
        environment: Environment,
        resolved: Resolved,
        amended: Mapping[str, str],
        external: Mapping[str, str],
    ) -> Deployment:
        """Store the services with their hosts and inputs, and the configuration."""
        cloned = await self._cloned(environment, resolved.services)
        routed = [each.name for each in resolved.services if each.spec.port and not each.is_main]
        hosts = await self._allot(environment, routed)
        services = with_kept(
            replace(each, host=hosts.get(each.name, ""), volume_epoch=environment.volume_epoch)
            for each in cloned
        )
        application = self._context.application(environment, resolved.deployment)
        deployment = replace(resolved.deployment, services=services)
        launch = self._launch(environment, deployment, application, amended, external)
        complete = _with_inputs(launch, resolved.contents)
        now = self._context.clock.now()
        configuration = configuration_of(replace(launch, deployment=replace(deployment, services=complete)))
        return await self._context.records.prepared(
            deployment.id,
            lambda d: replace(d, services=complete, starting_at=d.starting_at or now),
            configuration,
        )

    async def _cloned(
        self, environment: Environment, services: Sequence[DeployedService]
    ) -> Sequence[DeployedService]:
        """The services with the snapshot that their `clone` volumes start from.

        Raises:
            Fault: see `with_clones`.
        """
        if not any(each.clones for each in services):
            return services
        snapshot = await self._context.records.snapshot_for(environment)
        return with_clones(services, snapshot, environment.desired.trust)

    async def _allot(self, environment: Environment, routed: Sequence[str]) -> Mapping[str, str]:
        """Give hosts to these services."""
        urls = self._context.urls
        return await self._context.records.allot_hosts(
            environment.id, lambda tx: urls.allot_to_services(tx, environment, routed)
        )

    async def _urls(self, environment: Environment, routed: Sequence[str]) -> dict[str, str]:
        """The variables with the URLs of these services and of the environment."""
        hosts = await self._allot(environment, routed) if routed else {}
        url = self._context.urls.url
        return place(environment, url(environment.host), {name: url(host) for name, host in hosts.items()})


def with_kept(services: Iterable[DeployedService]) -> tuple[DeployedService, ...]:
    """The services, with whether an instance serves further generations. Not the main service, jobs and what
    has a volume of its generation; nor what depends on one of these, because it may have connected to it."""
    by_name = {service.name: service for service in services}

    def is_kept(service: DeployedService) -> bool:
        if service.is_main or service.spec.is_job or service.fresh_volumes:
            return False
        return all(is_kept(by_name[on]) for on in service.spec.depends_on)

    return tuple(replace(service, is_kept=is_kept(service)) for service in by_name.values())


def _with_inputs(launch: Launch, contents: Mapping[str, tuple[Content, ...]]) -> tuple[DeployedService, ...]:
    """The services with the digests of their inputs, which include those of kept services that they depend
    on."""
    by_name = {service.name: service for service in launch.deployment.services}

    def complete(service: DeployedService) -> DeployedService:
        known = by_name[service.name]
        if not known.inputs:
            for on in service.spec.depends_on:
                complete(by_name[on])
            services = tuple(by_name.values())
            of_now = replace(launch, deployment=replace(launch.deployment, services=services))
            known = by_name[service.name] = replace(
                service, inputs=spec_of(of_now, service, contents.get(service.name, ())).inputs
            )
        return known

    return tuple(complete(service) for service in launch.deployment.services)


async def _first_of(task: asyncio.Task[Resolved], event: asyncio.Event) -> None:
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
