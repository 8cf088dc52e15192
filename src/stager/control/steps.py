"""What a worker can do: look at an environment, take one step of its plan, and show how it stands.

Each step may be repeated, and may be cut short at any line: what it has done is seen at the next look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from stager.control.addresses import Addresses
from stager.control.applications import Application, Applications
from stager.control.handling import Handling
from stager.control.memory import Memory
from stager.control.metrics import Metrics
from stager.control.publisher import Publisher
from stager.control.variables import of_instance
from stager.control.watch import Watch
from stager.domain import plan as planning
from stager.domain.attempts import after_answer, after_error, after_exit
from stager.domain.deployment import Deployment
from stager.domain.environment import Birth, Environment, Instance, Observed
from stager.domain.errors import Fault, Retry, StagerError, sentences
from stager.domain.route import Endpoint
from stager.domain.status import State, Status, page_of, status_of
from stager.ports.clock import Clock
from stager.ports.engine import Images, Instances, InstanceSpec, Prober

log = structlog.get_logger(__name__)

LOG_LINES = 50
FIRST_PROBE, LONGEST_PROBE = 0.02, 1.0
"""Seconds between two questions whether an instance answers, at first and in the end."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at an environment: as it is remembered, and as it is."""

    environment: Environment
    deployments: dict[int, Deployment]
    observed: Observed

    @property
    def current(self) -> Deployment | None:
        """The deployment of the desired generation."""
        return self.deployments.get(self.environment.desired.generation)


@dataclass(frozen=True, slots=True)
class Tools:
    """What steps are taken with; one set for all environments.

    Args:
        handling: the handlers to ask and to tell; None where there are none.
    """

    memory: Memory
    images: Images
    instances: Instances
    prober: Prober
    publisher: Publisher
    addresses: Addresses
    applications: Applications
    watch: Watch
    clock: Clock
    metrics: Metrics
    handling: Handling | None = None


class Steps:
    """Looks and acts, for one environment at a time."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def now(self) -> datetime:
        """The time that plans are made by."""
        return self._tools.clock.now()

    async def look(self, environment_id: str) -> Look | None:
        """The environment as it is remembered and as it is; None when nobody knows it.

        Raises:
            Retry: the engine doesn't answer.
        """
        environment = await self._tools.memory.environment(environment_id)
        if environment is None:
            return None
        instances = await self._tools.instances.find(environment_id)
        generations = {environment.desired.generation, *(i.generation for i in instances)}
        deployments = await self._tools.memory.deployments(environment, generations)
        target = self._tools.publisher.table.routes.get(environment.host)
        if not await self._tools.memory.has_its_host(environment):
            target = None  # it is gone, and the route is the next bearer's
        observed = Observed(
            instances=tuple(instances),
            published=target if isinstance(target, Endpoint) else None,
            attempts=tuple(d.attempt for d in deployments.values()),
        )
        return Look(environment, deployments, observed)

    async def settle(self, environment_id: str) -> None:
        """There is nothing to do: see to it that the store and the visitor's page say so."""
        look = await self.look(environment_id)
        if look is None:
            return
        serving = look.observed.serving
        generation = serving.generation if serving else None
        deployment = look.deployments.get(serving.generation) if serving else None
        if deployment is not None and deployment.live_at is None:
            await self._tools.memory.live(environment_id, deployment.id, self.now())
        elif generation != look.environment.serving:
            await self._tools.memory.serving(environment_id, generation)
        await self.tell(environment_id)

    async def take(self, environment_id: str, action: planning.Action) -> None:
        """Take one step. What goes wrong with it is remembered in its deployment.

        Raises:
            Retry: the store, the engine or the front doesn't answer, and so nothing could be remembered.
        """
        look = await self.look(environment_id)
        if look is None:
            return
        bound = log.bind(environment=environment_id, app=look.environment.app, step=type(action).__name__)
        try:
            await self._dispatch(look, action)
        except StagerError as error:
            bound.warning("step_failed", kind=error.kind, reason=error.reason, error=error.message)
            await self._remember_error(look, action, error)
        else:
            bound.debug("step_done")
        await self.tell(environment_id)

    async def tell(self, environment_id: str) -> None:
        """Have the visitor's page say how things stand, then wake those who wait; in this order, so that
        whoever is told can see it."""
        try:
            await self._show_page(environment_id)
        finally:
            self._tools.watch.changed(environment_id)

    async def excuse(self, environment_id: str, error: Retry) -> None:
        """Have the visitor's page say why nothing happens, while something that we need doesn't answer."""
        remembered = await self._tools.memory.with_current(environment_id)
        if remembered is None or remembered[0].serving is not None or not remembered[0].desired.wanted:
            return
        environment = remembered[0]
        status = Status(State.STARTING, sentences(error.message, "Stager goes on trying."))
        if not self._is_routed(environment):
            with suppress(Retry):
                await self._tools.publisher.show(environment.host, page_of(environment, status))

    async def _dispatch(self, look: Look, action: planning.Action) -> None:
        match action:
            case planning.Start():
                await self._start(look)
            case planning.Resume(instance):
                await self._resume(look, instance)
            case planning.Check(instance):
                await self._check(look, instance)
            case planning.Publish(instance):
                await self._publish(look, instance)
            case planning.Unpublish():
                await self._unpublish(look)
            case planning.Retire(instance):
                await self._retire(look, instance)
            case planning.Record(instance):
                await self._record(look, instance)
            case planning.Wait(until):
                await asyncio.sleep(max(0.0, (until - self.now()).total_seconds()))

    async def _start(self, look: Look) -> None:
        environment, deployment = look.environment, look.current
        if deployment is None:
            raise Fault("The deployment was forgotten.", hint="Launch it again.", reason="deployment-missing")
        application = self._application(environment)
        await self._tools.memory.save(
            deployment.id, lambda d: replace(d, starting_at=d.starting_at or self.now())
        )
        await self.tell(environment.id)
        variables = await self._variables(environment, deployment, application)
        image = await self._tools.images.resolve(application.image)
        deployment = await self._tools.memory.save(deployment.id, lambda d: replace(d, image=image))
        made = await self._tools.instances.create(self._spec(environment, deployment, application, variables))
        await self._run(deployment, made.id)

    async def _resume(self, look: Look, instance: Instance) -> None:
        deployment = look.deployments[instance.generation]
        await self._run(deployment, instance.id)

    async def _run(self, deployment: Deployment, instance: str) -> None:
        await self._tools.instances.start(instance)
        await self._tools.memory.save(
            deployment.id,
            lambda d: replace(
                d, checking_at=d.checking_at or self.now(), attempt=replace(d.attempt, retry_at=None)
            ),
        )

    async def _check(self, look: Look, instance: Instance) -> None:
        application = self._application(look.environment)
        try:
            async with asyncio.timeout(application.start_timeout):
                last = await self._until_it_answers(look.environment, application, instance)
        except TimeoutError:
            raise await self._silence(look.environment.host, application, instance) from None
        deployment = look.deployments[instance.generation]
        await self._tools.memory.save(
            deployment.id, lambda d: replace(d, attempt=after_answer(d.attempt, instance))
        )
        log.info("instance_answers", environment=instance.environment, status=last, instance=instance.id[:12])

    async def _until_it_answers(
        self, environment: Environment, application: Application, instance: Instance
    ) -> int:
        pause = FIRST_PROBE
        path = application.health_path or "/"
        while True:
            if instance.endpoint is not None:
                status = await self._tools.prober.answers(instance.endpoint, environment.host, path)
                if status is not None and status < (400 if application.health_path else 500):
                    return status
            await asyncio.sleep(pause)
            pause = min(LONGEST_PROBE, pause * 1.5)

    async def _silence(self, host: str, application: Application, instance: Instance) -> Fault:
        path = application.health_path or "/"
        endpoint = instance.endpoint
        status = await self._tools.prober.answers(endpoint, host, path) if endpoint else None
        what = "didn't answer" if status is None else f"answered with status {status}"
        return Fault(
            f"The application {what} on port {application.port} (GET {path})"
            f" for {application.start_timeout:g} s.",
            hint="Does it listen on 0.0.0.0, and on the port that `port` in the configuration says?"
            if status is None
            else "`health_path` in the configuration names the path that tells whether it is ready.",
            reason="no-answer",
            detail=await self._tools.instances.logs(instance.id, LOG_LINES),
        )

    async def _publish(self, look: Look, instance: Instance) -> None:
        if instance.endpoint is None:
            return
        deployment = look.deployments[instance.generation]
        first = deployment.live_at is None
        await self._tools.publisher.show(look.environment.host, instance.endpoint)
        await self._tools.memory.live(look.environment.id, deployment.id, self.now())
        log.info(
            "published",
            environment=look.environment.id,
            deployment=deployment.id,
            url=self._tools.addresses.url(look.environment.host),
        )
        if first:
            self._tools.metrics.live(look.environment.app, self.now() - deployment.created_at)

    async def _variables(
        self, environment: Environment, deployment: Deployment, application: Application
    ) -> dict[str, str]:
        """The variables of the next instance, once the pre-launch handlers agree to it."""
        url = self._tools.addresses.url(environment.host)

        def amend(amended: Mapping[str, str]) -> dict[str, str]:
            return of_instance(application, environment, url, amended)

        handling = self._tools.handling
        return await handling.prepare(environment, deployment, amend) if handling else amend({})

    async def _unpublish(self, look: Look) -> None:
        environment = look.environment
        if self._tools.handling and not environment.desired.wanted:
            deployment = look.deployments.get(environment.serving or environment.desired.generation)
            await self._tools.handling.killing(environment, deployment)
        await self._tools.memory.serving(environment.id, None)
        await self._show_page(environment.id, over_instance=True)

    async def _retire(self, look: Look, instance: Instance) -> None:
        deployment = look.deployments.get(instance.generation)
        if instance.endpoint is not None:
            timeout = self._drain_timeout(look.environment)
            cut = await self._tools.publisher.drain(instance.endpoint, timeout)
            if cut:
                log.info("requests_cut", environment=look.environment.id, requests=cut)
        text = await self._tools.instances.logs(instance.id, LOG_LINES)
        if deployment is not None:
            await self._tools.memory.save(
                deployment.id, lambda d: replace(d, ended_at=self.now(), log=text or d.log)
            )
        await self._tools.instances.remove(instance.id)

    async def _record(self, look: Look, instance: Instance) -> None:
        text = await self._tools.instances.logs(instance.id, LOG_LINES)
        deployment = look.deployments[instance.generation]
        saved = await self._tools.memory.save(
            deployment.id,
            lambda d: replace(d, attempt=after_exit(d.attempt, instance, text, self.now()), log=text),
        )
        outcome = saved.attempt.outcome
        if outcome is not None:
            log.warning(
                "instance_ended",
                environment=instance.environment,
                deployment=deployment.id,
                reason=outcome.reason,
                exit_code=instance.exit_code,
                final=saved.attempt.final,
            )
        if saved.attempt.final and outcome is not None:
            self._tools.metrics.failed(look.environment.app, outcome.reason)

    def _application(self, environment: Environment) -> Application:
        try:
            return self._tools.applications.get(environment.app)
        except StagerError as error:
            raise Fault(
                f'"{environment.app}" is no longer under `images:` in the configuration.',
                hint="Put it back, or kill this environment.",
                reason="image-unknown",
            ) from error

    def _drain_timeout(self, environment: Environment) -> float:
        try:
            return self._application(environment).drain_timeout
        except Fault:
            return 0.0

    def _spec(
        self,
        environment: Environment,
        deployment: Deployment,
        application: Application,
        variables: Mapping[str, str],
    ) -> InstanceSpec:
        desired = environment.desired
        return InstanceSpec(
            birth=Birth(
                environment=environment.id,
                deployment=deployment.id,
                generation=deployment.generation,
                app=environment.app,
                subject=environment.key.subject,
                name=environment.name,
                host=environment.host,
                revision=deployment.revision,
                trust=desired.trust,
                change=environment.change,
                parameters=desired.parameters,
            ),
            image=deployment.image,
            command=application.command,
            port=application.port,
            variables=variables,
            limits=application.limits,
            stop_grace=application.stop_grace,
            parameters=application.parameters,
        )

    async def _remember_error(self, look: Look, action: planning.Action, error: StagerError) -> None:
        """A step towards a generation fails its deployment; any other is tried again, by the worker."""
        generation = _generation_of(action)
        deployment = look.deployments.get(generation) if generation is not None else None
        if deployment is None:
            raise error
        saved = await self._tools.memory.save(
            deployment.id,
            lambda d: replace(
                d, attempt=after_error(d.attempt, error, self.now()), log=error.detail or d.log
            ),
        )
        if saved.attempt.final:
            self._tools.metrics.failed(look.environment.app, error.reason)

    def _is_routed(self, environment: Environment) -> bool:
        """Whether its host leads to an instance. Only the plan may change that: what the database says may be
        behind, as after it was lost."""
        return isinstance(self._tools.publisher.table.routes.get(environment.host), Endpoint)

    async def _show_page(self, environment_id: str, *, over_instance: bool = False) -> None:
        """Show the page of an environment of which no instance serves.

        Args:
            over_instance: also where its host leads to one by now.
        """
        remembered = await self._tools.memory.with_current(environment_id)
        if remembered is None:
            return
        environment, deployment = remembered
        if environment.serving is not None or (self._is_routed(environment) and not over_instance):
            return
        if not await self._tools.memory.has_its_host(environment):
            return
        status = status_of(environment, deployment)
        await self._tools.publisher.show(environment.host, page_of(environment, status))


def _generation_of(action: planning.Action) -> int | None:
    """The generation that a step brings up, for those that do."""
    match action:
        case planning.Start(generation):
            return generation
        case planning.Resume(instance) | planning.Check(instance):
            return instance.generation
        case _:
            return None
