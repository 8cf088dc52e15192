"""The page that visitors of an environment's hosts see while no instance serves there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from stager.control.builds.queue import BuildQueue
from stager.control.reconciler.context import WorkerContext
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Retry, StagerError, sentences
from stager.domain.route import Endpoint, Page
from stager.domain.status import State, Status, page_of, status_of


class StatusPage:
    """Keeps the status pages of environments up to date in the route table."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context

    async def update(self, environment_id: str) -> None:
        """Show the current status on the page, then publish the change to the change feed. In this order, so
        that a subscriber finds the new page."""
        try:
            await self.show(environment_id)
        finally:
            self._context.change_feed.changed(environment_id)

    async def show(self, environment_id: str, *, over: Collection[str] = ()) -> None:
        """Show the page on the hosts that lead to no instance.

        Args:
            over: further hosts, of which the route to an instance is replaced.
        """
        found = await self._context.records.with_hosts(environment_id)
        if found is None:
            return
        environment, deployment, hosts = found
        if free := self._without_instance(environment, hosts, over):
            await self._route(environment, self._status(environment, deployment), free, deployment)

    async def park(self, environment: Environment, hosts: Iterable[str]) -> bool:
        """Show the page of a sleeping environment on these hosts, which lead to an instance. No effect, and
        False, if one of them has an open request or was requested within `Desired.min_idle`."""
        deployment = await self._context.records.current(environment)
        page = self._page(environment, self._status(environment, deployment), deployment)
        targets, idle = dict.fromkeys(hosts, page), environment.desired.min_idle
        return await self._context.routes.park(targets, idle=idle)

    def _status(self, environment: Environment, deployment: Deployment | None) -> Status:
        """The status with the warnings that are shown in every state."""
        status = live_status(environment, deployment, self._context.image_resolver.builds)
        warnings = self._context.warnings(environment, deployment)
        return replace(status, hint=sentences(status.hint, " ".join(warnings)))

    async def show_error(self, environment_id: str, error: StagerError) -> None:
        """Show on the page why nothing happens, while something that Stager needs doesn't answer."""
        found = await self._context.records.with_hosts(environment_id)
        if found is None:
            return
        environment, _, hosts = found
        if environment.serving is not None or not environment.desired.should_run:
            return
        status = Status(State.STARTING, sentences(error.message, "Stager tries again."))
        if free := self._without_instance(environment, hosts):
            with suppress(Retry):
                await self._route(environment, status, free)

    def _without_instance(
        self, environment: Environment, hosts: Mapping[str, str], over: Collection[str] = ()
    ) -> list[str]:
        """The hosts that don't lead to an instance. Only the plan may change those that do: the database may
        be behind, as after it was lost. While the environment serves and nothing of it sleeps, its own host
        is left alone."""
        is_free = environment.serving is None or bool(environment.asleep_runs)
        routes = self._context.routes.table.routes
        return [
            host
            for host, service in hosts.items()
            if (service or is_free) and (host in over or not isinstance(routes.get(host), Endpoint))
        ]

    async def _route(
        self,
        environment: Environment,
        status: Status,
        hosts: Iterable[str],
        deployment: Deployment | None = None,
    ) -> None:
        page = self._page(environment, status, deployment)
        await self._context.visitor_access.route(environment, dict.fromkeys(hosts, page))

    def _page(self, environment: Environment, status: Status, deployment: Deployment | None) -> Page:
        page = page_of(environment, status, self._context.urls.page(environment.id), deployment)
        if self._context.visitor_access.shows_logs(environment):
            return page
        return replace(page, lines=(), findings=())


def live_status(environment: Environment, deployment: Deployment | None, builds: BuildQueue | None) -> Status:
    """The status of an environment, with the progress of its build if there is one."""
    status = status_of(environment, deployment)
    standing = builds.progress(deployment.build) if builds and deployment and deployment.build else None
    if standing is None or status.settled:
        return status
    if standing.ahead is None:
        return replace(status, lines=standing.lines)
    if not standing.ahead:
        return replace(status, message="The build is the next in the queue.", place=1)
    others = "1 build is" if standing.ahead == 1 else f"{standing.ahead} builds are"
    return replace(status, message=f"The build is queued; {others} before it.", place=standing.ahead + 1)
