"""Garbage collection on request: what would be removed from the machine and why, and its removal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from stager.control.builds.package import Builds
from stager.control.environments.records import volume_epochs
from stager.control.identity.authorizer import Authorizer
from stager.control.ports import Ports
from stager.control.reconciler.package import Reconciler
from stager.domain.environment import Environment, Instance
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.domain.leftovers import Leftover, LeftoverKind
from stager.domain.plan import Retire, plan

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """Something that garbage collection removes.

    Args:
        preview: the application and name of the preview that it belonged to; empty if that is unknown.
    """

    leftover: Leftover
    preview: str = ""


class Cleanup:
    """Looks for what nothing needs, and removes it at once instead of within the usual minutes."""

    def __init__(self, ports: Ports, authorizer: Authorizer, builds: Builds, reconciler: Reconciler) -> None:
        self._store, self._instances, self._clock = ports.store, ports.instances, ports.clock
        self._authorizer = authorizer
        self._gc = builds.gc
        self._reconciler = reconciler

    async def look(self, actor: Actor) -> list[Found]:
        """What would be removed now, without removing it. Expensive: it may take seconds.

        Raises:
            Refused: 403, the actor lacks the permission.
            Retry: the engine or the store doesn't answer.
        """
        await self._authorizer.check(actor, Action.COLLECT_GARBAGE)
        return await self._found()

    async def run(self, actor: Actor) -> list[Found]:
        """Remove it. Returns what was removed; what is still there is removed as soon as it is no longer in
        use. Raises what `look` does."""
        async with self._authorizer.authorized(actor, Action.COLLECT_GARBAGE):
            before = await self._found()
            await self._reconciler.reconcile_all()
            if self._gc:
                await self._gc.collect()
            left = {found.leftover.key for found in await self._found()}
            removed = [found for found in before if found.leftover.key not in left]
            log.info("gc_requested", removed=len(removed), left=len(before) - len(removed))
        return removed

    async def _found(self) -> list[Found]:
        environments = await self._store.read(lambda tx: tx.environments())
        epochs = await self._store.read(lambda tx: volume_epochs(tx, environments))
        leftovers = [*await self._containers(environments), *await self._instances.leftovers(epochs)]
        leftovers += await self._gc.leftovers() if self._gc else []
        names = {each.id: f"{each.app}, {each.name}" for each in environments}
        return [Found(each, names.get(each.environment, "")) for each in leftovers]

    async def _containers(self, environments: Iterable[Environment]) -> list[Leftover]:
        """The instances that the next plan of their environment retires."""
        instances = await self._instances.find()
        there = {instance.environment for instance in instances}
        found: list[Leftover] = []
        for environment in environments:
            if environment.id in there and _may_have_leftovers(environment, instances):
                found += await self._retired(environment)
        return found

    async def _retired(self, environment: Environment) -> list[Leftover]:
        state = await self._reconciler.actions.observe(environment.id)
        if state is None:
            return []
        desired = state.environment.desired
        if not desired.is_present or desired.suspension is not None:
            return [_leftover(each, _why_nothing_runs(environment)) for each in state.instances]
        action = plan(desired, state, self._clock.now())
        why = "no revision that visitors see or will see uses it"
        return [_leftover(each, why) for each in action.instances] if isinstance(action, Retire) else []


def _may_have_leftovers(environment: Environment, instances: Iterable[Instance]) -> bool:
    desired = environment.desired
    if not desired.is_present or desired.suspension is not None:
        return True
    return any(i.environment == environment.id and i.generation != desired.generation for i in instances)


def _why_nothing_runs(environment: Environment) -> str:
    suspension = environment.desired.suspension
    return f"its preview is stopped ({suspension.reason})" if suspension else "its preview was removed"


def _leftover(instance: Instance, why: str) -> Leftover:
    name = f"{instance.service} of deployment {instance.generation} ({instance.id[:12]})"
    return Leftover(LeftoverKind.CONTAINER, name, why, instance.environment)
