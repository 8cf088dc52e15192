"""What a worker can do for an environment: take one step of its plan, and remember how that went.

Each step may be repeated, and may be cut short at any line: what it has done is seen at the next look.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

import structlog

from stager.control.reconciler.context import Tools
from stager.control.reconciler.exec_hooks import run_hooks
from stager.control.reconciler.health_check import LOG_LINES
from stager.control.reconciler.observe import Look, look_at
from stager.control.reconciler.rollout import Launching
from stager.control.reconciler.status_page import Showing
from stager.domain import plan as planning
from stager.domain.attempts import after_error, after_exit
from stager.domain.environment import Environment, Instance
from stager.domain.errors import Fault, StagerError
from stager.domain.unexpected import ending_of

log = structlog.get_logger(__name__)


class Steps:
    """Looks and acts, for one environment at a time."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.showing = Showing(tools)
        self._launching = Launching(tools, self.showing)

    def now(self) -> datetime:
        """The time that plans are made by."""
        return self._tools.clock.now()

    async def look(self, environment_id: str) -> Look | None:
        """See `look_at`."""
        return await look_at(environment_id, self._tools)

    async def settle(self, look: Look) -> None:
        """There is nothing to do: see to it that the store and the visitor's page say so."""
        environment_id = look.environment.id
        if not look.environment.desired.wanted and not look.observed.instances:
            await self._clear_networks(look.environment)
        serving = look.observed.serving
        generation = serving.generation if serving else None
        deployment = look.deployments.get(serving.generation) if serving else None
        if deployment is not None and deployment.live_at is None:
            await self._tools.memory.live(environment_id, deployment.id, self.now())
        elif generation != look.environment.serving:
            await self._tools.memory.serving(environment_id, generation)
        await self.showing.tell(environment_id)
        if not (look.environment.desired.wanted and look.current and look.current.attempt.final):
            self._tools.failures.forget(environment_id)

    def unexpected(self, environment_id: str, error: Exception, of: Environment | None = None) -> StagerError:
        """The ending that an error stands for, which no driver expected. It is among the failures now.

        Args:
            of: the environment, where it could be looked at.
        """
        ending = ending_of(error)
        self._tools.failures.note(environment_id, f"{of.app}, {of.name}" if of else environment_id, ending)
        return ending

    async def take(self, look: Look, action: planning.Action) -> None:
        """Take one step. What goes wrong with it is remembered in its deployment.

        Args:
            look: by which the step was planned. Another one would cost the engine as much again.

        Raises:
            StagerError: it is remembered in no deployment: the store, the engine or the front doesn't answer,
                or what is cleared away can't be.
        """
        environment_id = look.environment.id
        bound = log.bind(environment=environment_id, app=look.environment.app, step=type(action).__name__)
        try:
            await self._dispatch(look, action)
        except StagerError as error:
            bound.warning("step_failed", kind=error.kind, reason=error.reason, error=error.message)
            await self._remember_error(look, action, error)
        except Exception as error:
            log.exception("step_failed", environment=environment_id, step=type(action).__name__)
            ending = self.unexpected(environment_id, error, look.environment)
            await self._remember_error(look, action, ending)
        else:
            bound.debug("step_done")
        await self.showing.tell(environment_id)

    async def _dispatch(self, look: Look, action: planning.Action) -> None:
        match action:
            case planning.Start():
                await self._launching.start(look)
            case planning.Resume(instance):
                await self._launching.resume(look, instance)
            case planning.Check(instance):
                await self._launching.check(look, instance)
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

    async def _publish(self, look: Look, instance: Instance) -> None:
        if instance.endpoint is None:
            return
        deployment = look.deployments[instance.generation]
        first = deployment.live_at is None
        await self._tools.guards.lead(look.environment, instance.endpoint)
        await self._tools.memory.live(look.environment.id, deployment.id, self.now())
        log.info(
            "published",
            environment=look.environment.id,
            deployment=deployment.id,
            url=self._tools.addresses.url(look.environment.host),
        )
        if first:
            self._tools.metrics.live(look.environment.app, self.now() - deployment.created_at)

    async def _unpublish(self, look: Look) -> None:
        environment = look.environment
        if not environment.desired.wanted:
            deployment = look.deployments.get(environment.serving or environment.desired.generation)
            await self._tools.handling.killing(environment, deployment)
            await self._run_last_hooks(look)
        await self._tools.memory.serving(environment.id, None)
        await self.showing.page(environment.id, over_instance=True)

    async def _run_last_hooks(self, look: Look) -> None:
        """What is to run before the end. It delays that, and can't prevent it."""
        serving = look.observed.serving
        if serving is None:
            return
        try:
            application = self._tools.application(look.environment, look.deployments[serving.generation])
            await run_hooks(self._tools.instances, serving, "before_kill", application.hooks.before_kill)
        except Fault as error:
            log.warning(
                "hook_failed", environment=look.environment.id, error=error.message, detail=error.detail
            )

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
        if not look.environment.desired.wanted and look.observed.instances == (instance,):
            await self._clear_networks(look.environment)

    async def _clear_networks(self, environment: Environment) -> None:
        """Nothing of it is left that needs a network. What can't be removed now goes with a later pass."""
        try:
            await self._tools.instances.sweep()
        except StagerError as error:
            log.warning("networks_left", environment=environment.id, reason=error.reason, error=error.message)

    async def _record(self, look: Look, instance: Instance) -> None:
        text = await self._tools.instances.logs(instance.id, LOG_LINES)
        deployment = look.deployments[instance.generation]
        hint = ""
        if not deployment.attempt.healthy_run:
            hint = await self._tools.instances.post_mortem(instance.id, text)
        saved = await self._tools.memory.save(
            deployment.id,
            lambda d: replace(d, attempt=after_exit(d.attempt, instance, text, self.now(), hint), log=text),
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

    def _drain_timeout(self, environment: Environment) -> float:
        try:
            return self._tools.application(environment).drain_timeout
        except Fault:
            return 0.0

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


def _generation_of(action: planning.Action) -> int | None:
    """The generation that a step brings up, for those that do."""
    match action:
        case planning.Start(generation):
            return generation
        case planning.Resume(instance) | planning.Check(instance):
            return instance.generation
        case _:
            return None
