"""What a worker can do for an environment: take one step of its plan, and remember how that went.

Each step may be repeated, and may be cut short at any line: what it has done is seen at the next look.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

import structlog

from stager.control.reconciler.context import WorkerContext
from stager.control.reconciler.exec_hooks import run_hooks
from stager.control.reconciler.health_check import LOG_LINES
from stager.control.reconciler.observe import ObservedState, look_at
from stager.control.reconciler.rollout import Launching
from stager.control.reconciler.status_page import Showing
from stager.domain import plan as planning
from stager.domain.attempts import after_error, after_exit
from stager.domain.environment import Environment, Instance
from stager.domain.errors import Fault, StagerError
from stager.domain.unexpected import ending_of

log = structlog.get_logger(__name__)


class Actions:
    """Looks and acts, for one environment at a time."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self.showing = Showing(context)
        self._launching = Launching(context, self.showing)

    def now(self) -> datetime:
        """The time that plans are made by."""
        return self._context.clock.now()

    async def observe(self, environment_id: str) -> ObservedState | None:
        """See `look_at`."""
        return await look_at(environment_id, self._context)

    async def settle(self, state: ObservedState) -> None:
        """There is nothing to do: see to it that the store and the visitor's page say so."""
        environment_id = state.environment.id
        if not state.environment.desired.should_run and not state.observed.instances:
            await self._clear_networks(state.environment)
        serving = state.observed.serving
        generation = serving.generation if serving else None
        deployment = state.deployments.get(serving.generation) if serving else None
        if deployment is not None and deployment.live_at is None:
            await self._context.memory.live(environment_id, deployment.id, self.now())
        elif generation != state.environment.serving:
            await self._context.memory.serving(environment_id, generation)
        await self.showing.tell(environment_id)
        if not (state.environment.desired.should_run and state.current and state.current.attempt.final):
            self._context.failures.forget(environment_id)

    def unexpected(self, environment_id: str, error: Exception, of: Environment | None = None) -> StagerError:
        """The ending that an error stands for, which no driver expected. It is among the failures now.

        Args:
            of: the environment, where it could be looked at.
        """
        ending = ending_of(error)
        self._context.failures.note(environment_id, f"{of.app}, {of.name}" if of else environment_id, ending)
        return ending

    async def take(self, state: ObservedState, action: planning.Action) -> None:
        """Take one step. What goes wrong with it is remembered in its deployment.

        Args:
            state: by which the step was planned. Another one would cost the engine as much again.

        Raises:
            StagerError: it is remembered in no deployment: the store, the engine or the front doesn't answer,
                or what is cleared away can't be.
        """
        environment_id = state.environment.id
        bound = log.bind(environment=environment_id, app=state.environment.app, step=type(action).__name__)
        try:
            await self._dispatch(state, action)
        except StagerError as error:
            bound.warning("step_failed", kind=error.kind, reason=error.reason, error=error.message)
            await self._remember_error(state, action, error)
        except Exception as error:
            log.exception("step_failed", environment=environment_id, step=type(action).__name__)
            ending = self.unexpected(environment_id, error, state.environment)
            await self._remember_error(state, action, ending)
        else:
            bound.debug("step_done")
        await self.showing.tell(environment_id)

    async def _dispatch(self, state: ObservedState, action: planning.Action) -> None:
        match action:
            case planning.Start():
                await self._launching.start(state)
            case planning.Resume(instance):
                await self._launching.resume(state, instance)
            case planning.Check(instance):
                await self._launching.check(state, instance)
            case planning.Publish(instance):
                await self._publish(state, instance)
            case planning.Unpublish():
                await self._unpublish(state)
            case planning.Retire(instance):
                await self._retire(state, instance)
            case planning.Record(instance):
                await self._record(state, instance)
            case planning.Wait(until):
                await asyncio.sleep(max(0.0, (until - self.now()).total_seconds()))

    async def _publish(self, state: ObservedState, instance: Instance) -> None:
        if instance.endpoint is None:
            return
        deployment = state.deployments[instance.generation]
        first = deployment.live_at is None
        await self._context.visitor_access.route(state.environment, instance.endpoint)
        await self._context.memory.live(state.environment.id, deployment.id, self.now())
        log.info(
            "published",
            environment=state.environment.id,
            deployment=deployment.id,
            url=self._context.urls.url(state.environment.host),
        )
        if first:
            self._context.metrics.live(state.environment.app, self.now() - deployment.created_at)

    async def _unpublish(self, state: ObservedState) -> None:
        environment = state.environment
        if not environment.desired.should_run:
            deployment = state.deployments.get(environment.serving or environment.desired.generation)
            await self._context.lifecycle.killing(environment, deployment)
            await self._run_last_hooks(state)
        await self._context.memory.serving(environment.id, None)
        await self.showing.page(environment.id, over_instance=True)

    async def _run_last_hooks(self, state: ObservedState) -> None:
        """What is to run before the end. It delays that, and can't prevent it."""
        serving = state.observed.serving
        if serving is None:
            return
        try:
            application = self._context.application(state.environment, state.deployments[serving.generation])
            await run_hooks(self._context.instances, serving, "before_kill", application.hooks.before_kill)
        except Fault as error:
            log.warning(
                "hook_failed", environment=state.environment.id, error=error.message, detail=error.detail
            )

    async def _retire(self, state: ObservedState, instance: Instance) -> None:
        deployment = state.deployments.get(instance.generation)
        if instance.endpoint is not None:
            timeout = self._drain_timeout(state.environment)
            cut = await self._context.routes.drain(instance.endpoint, timeout)
            if cut:
                log.info("requests_cut", environment=state.environment.id, requests=cut)
        text = await self._context.instances.logs(instance.id, LOG_LINES)
        if deployment is not None:
            await self._context.memory.save(
                deployment.id, lambda d: replace(d, ended_at=self.now(), log=text or d.log)
            )
        await self._context.instances.remove(instance.id)
        if not state.environment.desired.should_run and state.observed.instances == (instance,):
            await self._clear_networks(state.environment)

    async def _clear_networks(self, environment: Environment) -> None:
        """Nothing of it is left that needs a network. What can't be removed now goes with a later pass."""
        try:
            await self._context.instances.sweep()
        except StagerError as error:
            log.warning("networks_left", environment=environment.id, reason=error.reason, error=error.message)

    async def _record(self, state: ObservedState, instance: Instance) -> None:
        text = await self._context.instances.logs(instance.id, LOG_LINES)
        deployment = state.deployments[instance.generation]
        hint = ""
        if not deployment.attempt.healthy_run:
            hint = await self._context.instances.post_mortem(instance.id, text)
        saved = await self._context.memory.save(
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
            self._context.metrics.failed(state.environment.app, outcome.reason)

    def _drain_timeout(self, environment: Environment) -> float:
        try:
            return self._context.application(environment).drain_timeout
        except Fault:
            return 0.0

    async def _remember_error(
        self, state: ObservedState, action: planning.Action, error: StagerError
    ) -> None:
        """A step towards a generation fails its deployment; any other is tried again, by the worker."""
        generation = _generation_of(action)
        deployment = state.deployments.get(generation) if generation is not None else None
        if deployment is None:
            raise error
        saved = await self._context.memory.save(
            deployment.id,
            lambda d: replace(
                d, attempt=after_error(d.attempt, error, self.now()), log=error.detail or d.log
            ),
        )
        if saved.attempt.final:
            self._context.metrics.failed(state.environment.app, error.reason)


def _generation_of(action: planning.Action) -> int | None:
    """The generation that a step brings up, for those that do."""
    match action:
        case planning.Start(generation):
            return generation
        case planning.Resume(instance) | planning.Check(instance):
            return instance.generation
        case _:
            return None
