"""The parts that serve commands and reads of environments, composed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from stager.control.environments.attach import Attach
from stager.control.environments.capacity import Capacity, CapacityOptions
from stager.control.environments.capacity_report import CapacityQueries
from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.change_log import ChangeLog
from stager.control.environments.commands import CheckBranch, Commands
from stager.control.environments.consumption import ConsumptionMeter
from stager.control.environments.desired_state import DesiredState
from stager.control.environments.expiry import INTERVAL, Expiry
from stager.control.environments.launch_targets import LaunchTargets
from stager.control.environments.power import Power
from stager.control.environments.queries import Queries
from stager.control.environments.records import Records
from stager.control.environments.rollback import Rollback
from stager.control.environments.rotation import Rotation
from stager.control.environments.scheduler import Scheduler, Show, Wake
from stager.control.environments.share_links import ShareLinks
from stager.control.environments.waiters import Waiters
from stager.control.identity.package import Identity
from stager.control.loops import Loop
from stager.control.plugins.package import Plugins
from stager.control.ports import Ports
from stager.control.routing.package import Routing
from stager.domain.application import Applications
from stager.domain.environment import Environment

MaskText = Callable[[Environment, str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the packages above contribute.

    Args:
        wake: wakes the worker of an environment.
        show: updates the status page of an environment, then publishes the change.
        check_branch: refuses a manual launch of a branch that doesn't exist.
        mask: removes the secrets of an environment from a text.
    """

    wake: Wake
    show: Show
    check_branch: CheckBranch
    mask: MaskText


class Environments:
    """Commands, queries and what they share: `desired_state`, `records`, `capacity`."""

    def __init__(
        self,
        ports: Ports,
        applications: Applications,
        routing: Routing,
        plugins: Plugins,
        identity: Identity,
        callbacks: Callbacks,
        capacity: CapacityOptions,
    ) -> None:
        store, authorizer = ports.store, identity.authorizer
        self.change_feed = ChangeFeed()
        self.change_log = ChangeLog(ports.ids.new())
        self.change_feed.listen(self.change_log.record)
        self.records = Records(store)
        self.desired_state = DesiredState(
            routing.urls, ports.clock, ports.ids, can_pause=ports.power.can_pause
        )
        self.mask = callbacks.mask
        rotation = Rotation(plugins.invoker, routing.urls, plugins.configured.rotation)
        sleepers = frozenset(each.name for each in applications if each.sleep_after is not None)
        self.capacity = Capacity(
            ports,
            self.desired_state,
            self.change_feed,
            callbacks,
            rotation,
            identity.audit,
            replace(capacity, sleepers=sleepers),
        )
        self.capacity_queries = CapacityQueries(self.capacity, authorizer, ports.machine)
        self.scheduler = Scheduler(self.capacity, self.change_feed, show=callbacks.show, wake=callbacks.wake)
        self.queries = Queries(store, ports.instances, authorizer, ports.firewall)
        self.waiters = Waiters(self.records, ports.instances, self.change_feed)
        self.commands = Commands(
            store,
            applications,
            authorizer,
            self.queries,
            self.desired_state,
            self.scheduler,
            callbacks.check_branch,
        )
        self.launch_targets = LaunchTargets(store, applications, authorizer, routing.urls)
        self.rollback = Rollback(store, ports.images, self.queries, self.desired_state, self.scheduler)
        self.expiry = Expiry(ports, applications, self.desired_state, self.change_feed, callbacks.wake)
        self.power = Power(store, self.desired_state, self.queries, self.scheduler, callbacks.wake)
        self.share_links = ShareLinks(ports, self.queries, authorizer, routing.visitor_access)
        self.attach = Attach(store, ports.instances)
        self.consumption = ConsumptionMeter(ports.instances, ports.clock)

    def loops(self) -> list[Loop]:
        """Expiry, and the measurements of what previews use."""
        return [Loop("expiry", self.expiry.run, INTERVAL, after_adoption=True), *self.consumption.loops()]
