"""The parts that process pull requests, composed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

from stager.control.environments.package import Environments
from stager.control.identity.package import Identity
from stager.control.loops import Loop
from stager.control.metrics import Metrics
from stager.control.plugins.package import Plugins
from stager.control.ports import Ports
from stager.control.pull_requests.change_events import ChangeEvents, CurrentChanges
from stager.control.pull_requests.comment_commands import CommentCommands
from stager.control.pull_requests.delivery_log import DeliveryLog
from stager.control.pull_requests.inbox import Deduplication, Inbox
from stager.control.pull_requests.merge_queue import MergeQueue
from stager.control.pull_requests.open_changes import OpenChanges
from stager.control.pull_requests.policy import Listeners, Policy
from stager.control.pull_requests.resync import Resync
from stager.control.pull_requests.webhooks import EventConsumers, WebhookConsumer
from stager.control.pull_requests.why import WhyQuery
from stager.domain.application import Applications


class PullRequests:
    """Deliveries, comment commands, merge queues, and the comparison with the forge's open pull requests.

    Args:
        statuses: whether commits get a status, which merge queues wait for.
    """

    def __init__(
        self,
        ports: Ports,
        applications: Applications,
        metrics: Metrics,
        plugins: Plugins,
        environments: Environments,
        identity: Identity,
        *,
        statuses: bool,
    ) -> None:
        store, once = ports.store, Deduplication(ports.store, ports.clock)
        self._resync_soon = asyncio.Event()
        self.change_events = ChangeEvents(
            store,
            applications,
            environments.desired_state,
            Policy(ports.forges),
            Listeners(plugins.configured.listeners, plugins.invoker),
            current=CurrentChanges(ports.forges, ports.clock),
            changed=environments.scheduler.schedule,
        )
        comment_commands = CommentCommands(
            store, ports.forges, applications, environments, audit=identity.audit, once=once
        )
        merge_queue = MergeQueue(store, ports.forges, applications, enabled=statuses)
        self.inbox = Inbox(store, ports.clock, metrics)
        self.webhooks = WebhookConsumer(
            store,
            ports.webhooks,
            EventConsumers(self.change_events, comment_commands, merge_queue, self._resync_soon.set),
            once=once,
        )
        self.deliveries = DeliveryLog(store, ports.clock, metrics, identity.authorizer, self.inbox.receive)
        self.open_changes = OpenChanges(store, ports.forges, applications, identity.authorizer, ports.clock)
        self.why = WhyQuery(store, applications, identity.authorizer, ports.forges)
        self.resync = Resync(store, ports.forges, applications, self.change_events, ports.clock)
        ports.forges.on_connected(self._resync_soon.set)

    def loops(self, resync_interval: timedelta) -> list[Loop]:
        """Processing of deliveries, and the resync."""
        process = partial(self.inbox.run, self.webhooks.process)
        deliveries = Loop("deliveries", process, after_adoption=True)
        resync = Loop("resync", self.resync.run, resync_interval, after_adoption=True, wake=self._resync_soon)
        return [deliveries, resync]
