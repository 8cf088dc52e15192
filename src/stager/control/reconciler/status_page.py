"""What visitors of an environment's host see while none of its instances serves, and waking whoever waits."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from stager.control.builds.queue import BuildQueue
from stager.control.reconciler.context import WorkerContext
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Retry, StagerError, sentences
from stager.domain.route import Endpoint
from stager.domain.status import State, Status, page_of, status_of


class Showing:
    """Shows pages."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context

    async def tell(self, environment_id: str) -> None:
        """Have the visitor's page say how things stand, then wake those who wait; in this order, so that
        whoever is told can see it."""
        try:
            await self.page(environment_id)
        finally:
            self._context.watch.changed(environment_id)

    async def page(self, environment_id: str, *, over_instance: bool = False) -> None:
        """Show the page of an environment of which no instance serves.

        Args:
            over_instance: also where its host leads to one by now.
        """
        remembered = await self._context.memory.with_current(environment_id)
        if remembered is None:
            return
        environment, deployment = remembered
        if environment.serving is not None or (self._is_routed(environment) and not over_instance):
            return
        if not await self._context.memory.has_its_host(environment):
            return
        status = live_status(environment, deployment, self._context.image_resolver.builds)
        warnings = self._context.warnings(environment)
        status = replace(status, hint=sentences(status.hint, " ".join(warnings)))
        await self._context.visitor_access.route(environment, page_of(environment, status))

    async def excuse(self, environment_id: str, error: StagerError) -> None:
        """Have the visitor's page say why nothing happens, while something that we need doesn't answer."""
        environment = await self._context.memory.environment(environment_id)
        if environment is None or environment.serving is not None or not environment.desired.should_run:
            return
        status = Status(State.STARTING, sentences(error.message, "Stager goes on trying."))
        if not self._is_routed(environment):
            with suppress(Retry):
                await self._context.visitor_access.route(environment, page_of(environment, status))

    def _is_routed(self, environment: Environment) -> bool:
        """Whether its host leads to an instance. Only the plan may change that: what the database says may be
        behind, as after it was lost."""
        return isinstance(self._context.routes.table.routes.get(environment.host), Endpoint)


def live_status(environment: Environment, deployment: Deployment | None, builds: BuildQueue | None) -> Status:
    """The status of an environment, with how its build stands while there is one."""
    status = status_of(environment, deployment)
    standing = builds.standing(deployment.build) if builds and deployment and deployment.build else None
    if standing is None or status.settled:
        return status
    if standing.ahead is None:
        return replace(status, lines=standing.lines)
    others = "one other is" if standing.ahead == 1 else f"{standing.ahead} others are"
    place = (
        f"The build waits in line; {others} before it."
        if standing.ahead
        else "The build is the next in line."
    )
    return replace(status, message=place)
