"""The parts that process pull requests, composed."""

from __future__ import annotations

from datetime import timedelta

from stager.control.applications import Applications
from stager.control.environments.package import Environments
from stager.control.identity.audit import Audit
from stager.control.loops import Loop
from stager.control.metrics import Metrics
from stager.control.plugins.package import Plugins
from stager.control.ports import Ports
from stager.control.pull_requests.comment_commands import CommentCommands
from stager.control.pull_requests.deduplication import Once
from stager.control.pull_requests.merge_queue import MergeQueue
from stager.control.pull_requests.policy import Policy
from stager.control.pull_requests.resync import Resync
from stager.control.pull_requests.webhooks import WebhookConsumer


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
        audit: Audit,
        *,
        statuses: bool,
    ) -> None:
        once = Once(ports.store, ports.clock)
        self.webhooks = WebhookConsumer(
            store=ports.store,
            webhooks=ports.webhooks,
            forges=ports.forges,
            listeners=plugins.configured.listeners,
            applications=applications,
            desired_state=environments.desired_state,
            policy=Policy(ports.forges),
            comment_commands=CommentCommands(
                ports.store, ports.forges, applications, environments, audit=audit, once=once
            ),
            once=once,
            scheduler=environments.scheduler,
            clock=ports.clock,
            metrics=metrics,
            invoker=plugins.invoker,
            merge_queue=MergeQueue(ports.store, ports.forges, applications, enabled=statuses),
        )
        self._forges = ports.forges
        self.resync = Resync(ports.store, ports.forges, applications, self.webhooks, ports.clock)

    def loops(self, resync_interval: timedelta) -> list[Loop]:
        """Processing of deliveries; and the resync, if there is a forge to ask."""
        deliveries = Loop("deliveries", self.webhooks.run, after_adoption=True)
        resync = Loop("resync", self.resync.run, resync_interval, after_adoption=True)
        return [deliveries, resync] if self._forges else [deliveries]
