"""Carries out the actions of a plan, and records their failures.

Each action may be repeated, and may be cancelled at any line: the worker observes its effects next time.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

import structlog

from stager.control.reconciler.context import ObservedState, WorkerContext, observe
from stager.control.reconciler.health_check import LOG_LINES
from stager.control.reconciler.masking import Masks, masked
from stager.control.reconciler.preparation import Preparation
from stager.control.reconciler.publication import Publication
from stager.control.reconciler.retirement import Retirement
from stager.control.reconciler.rollout import Rollout
from stager.control.reconciler.sleep import Sleep
from stager.control.reconciler.status_page import StatusPage
from stager.domain import plan as planning
from stager.domain.attempt import Ending, after_error, after_exit
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, Instance
from stager.domain.errors import StagerError
from stager.domain.unexpected import ending_of

log = structlog.get_logger(__name__)


class Actions:
    """Observes one environment at a time and acts on it. All workers share it."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self.status_page = StatusPage(context)
        preparation = Preparation(context, self.status_page)
        self.masks = Masks(context, preparation)
        self._rollout = Rollout(context, preparation)
        self._publication = Publication(context, self.status_page)
        self._retirement = Retirement(context, self.masks)
        self._sleep = Sleep(context, self.status_page)

    def now(self) -> datetime:
        """The current time for plans."""
        return self._context.clock.now()

    async def may_begin(self) -> None:
        """Wait until no burst of deliveries defers actions."""
        await self._context.burst.over()

    async def observe(self, environment_id: str) -> ObservedState | None:
        """See `observe.observe`."""
        return await observe(environment_id, self._context)

    async def settle(self, state: ObservedState) -> None:
        """Bring the store and the visitor's page up to date with an environment that is at rest."""
        environment = state.environment
        if environment.desired.keeps_instances or state.instances:
            self._retirement.expect_networks(environment)
        else:
            await self._retirement.clear_networks_once(environment)
        if not environment.desired.is_asleep:
            await self._settle_serving(state)
        await self.status_page.update(environment.id)
        if not (environment.desired.keeps_instances and state.current and state.current.attempt.final):
            self._context.unexpected_errors.forget(environment.id)
        if not environment.desired.keeps_instances or environment.volume_epoch:
            self._context.external.request_release(environment.id)

    async def _settle_serving(self, state: ObservedState) -> None:
        environment, generation = state.environment, state.serving_generation
        deployment = state.deployments.get(generation) if generation is not None else None
        if deployment is not None and deployment.live_at is None:
            await self._context.records.live(environment.id, deployment.id, self.now())
        elif generation != environment.serving:
            await self._context.records.serving(environment.id, generation)

    def unexpected(self, environment_id: str, error: Exception, of: Environment | None = None) -> StagerError:
        """Translate an exception that no driver raises on purpose, and note it for `doctor`.

        Args:
            of: the environment, if it could be read.
        """
        translated = ending_of(error)
        name = f"{of.app}, {of.name}" if of else environment_id
        self._context.unexpected_errors.note(environment_id, name, translated)
        return translated

    async def take(self, state: ObservedState, action: planning.Action) -> None:
        """Carry out one action. A failure is recorded in the deployment that the action brings up.

        Args:
            state: the state that the action was planned by; reading it again would cost the engine as much.

        Raises:
            StagerError: a failure that belongs to no deployment: the store, the engine or the front doesn't
                answer, or an instance can't be removed.
        """
        environment_id = state.environment.id
        name = type(action).__name__
        bound = log.bind(environment=environment_id, app=state.environment.app, action=name)
        try:
            await self._dispatch(state, action)
        except StagerError as error:
            bound.warning("action_failed", kind=error.kind, reason=error.reason, error=error.message)
            await self._record_error(state, action, error)
        except Exception as error:
            log.exception("action_failed", environment=environment_id, action=name)
            translated = self.unexpected(environment_id, error, state.environment)
            await self._record_error(state, action, translated)
        else:
            bound.debug("action_done")
        await self.status_page.update(environment_id)

    async def _dispatch(self, state: ObservedState, action: planning.Action) -> None:
        match action:
            case planning.Publish(generation, instances):
                await self._publication.publish(state, generation, instances)
            case planning.Unpublish(services):
                await self._publication.unpublish(state, services)
            case planning.Retire(instances):
                await self._retirement.retire(state, instances)
            case planning.Record(instance, generation):
                await self._record_exit(state, instance, generation)
            case (
                planning.Park()
                | planning.Pause()
                | planning.Halt()
                | planning.Unpause()
                | planning.EndSleep()
            ):
                await self._sleep.carry_out(state, action)
            case planning.Wait(until):
                await asyncio.sleep(max(0.0, (until - self.now()).total_seconds()))
            case _:
                await self._rollout.carry_out(state, action)

    async def _record_exit(self, state: ObservedState, instance: Instance, generation: int) -> None:
        text = await self._context.instances.logs(instance.id, LOG_LINES)
        deployment = state.deployments[generation]
        service = state.service(generation, instance.service)
        ending = Ending(instance, state.has_been_healthy(instance), text)
        if not ending.has_been_healthy:
            hint = await self._context.instances.post_mortem(instance.id, text)
            ending = replace(ending, hint=hint)

        mask = await self.masks.of(state.environment, deployment)

        def ended(d: Deployment) -> Deployment:
            is_live = d.live_at is not None
            attempt = after_exit(d.attempt, service, ending, self.now(), is_live=is_live)
            return masked(replace(d, attempt=attempt, log=text if service.is_main else d.log), mask)

        saved = await self._context.records.save(deployment.id, ended)
        outcome = saved.attempt.outcome
        if outcome is not None:
            log.warning(
                "instance_ended",
                environment=instance.environment,
                deployment=deployment.id,
                service=instance.service,
                reason=outcome.reason,
                exit_code=instance.exit_code,
                final=saved.attempt.final,
            )
        if saved.attempt.final and outcome is not None:
            self._context.metrics.failed(state.environment.app, outcome.reason)

    async def _record_error(self, state: ObservedState, action: planning.Action, error: StagerError) -> None:
        """Record the failure in the deployment that the action brings up. Raise that of any other action: the
        worker tries it again."""
        generation, name, run = _target_of(action)
        deployment = state.deployments.get(generation) if generation is not None else None
        if deployment is None:
            raise error
        service = state.service(deployment.generation, name) if name else None

        mask = await self.masks.of(state.environment, deployment)

        def failed(d: Deployment) -> Deployment:
            is_live = d.live_at is not None
            attempt = after_error(d.attempt, error, self.now(), service, run=run, is_live=is_live)
            is_of_main = service is None or service.is_main
            said = (error.detail if is_of_main else "") or d.log
            return masked(replace(d, attempt=attempt, log=said), mask)

        saved = await self._context.records.save(deployment.id, failed)
        if saved.attempt.final:
            self._context.metrics.failed(state.environment.app, error.reason)


def _target_of(action: planning.Action) -> tuple[int | None, str, str]:
    """The generation that the action brings up, the service that it is for, and the run of its instance.

    None for an action that brings up no generation; empty for all services, and for no instance.
    """
    match action:
        case planning.Prepare(generation):
            return generation, "", ""
        case planning.Start(generation, service):
            return generation, service, ""
        case (
            planning.Join(instance, generation)
            | planning.Resume(instance, generation)
            | planning.Check(instance, generation)
        ):
            return generation, instance.service, instance.run
        case _:
            return None, "", ""
