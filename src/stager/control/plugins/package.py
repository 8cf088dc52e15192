"""The parts that call plugins, composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from stager.control.loops import CoalescingTasks
from stager.control.metrics import Metrics
from stager.control.plugins.action_calls import ActionCalls
from stager.control.plugins.invoker import Invoker
from stager.control.plugins.lifecycle import Lifecycle
from stager.control.ports import Ports
from stager.control.routing.urls import Urls
from stager.ports.handlers import (
    AuthenticationStrategy,
    ContainerRotationStrategy,
    EventListener,
    PostLaunchHandler,
    PreKillHandler,
    PreLaunchHandler,
)
from stager.settings.plugins.instances import PluginInstances


@dataclass(frozen=True, slots=True)
class PluginSet:
    """The handlers and strategies that the configuration names, each kind in its order.

    Args:
        rotation: chooses which preview is removed at the limit; None: the oldest.
    """

    listeners: Sequence[EventListener] = ()
    pre_launch: Sequence[PreLaunchHandler] = ()
    post_launch: Sequence[PostLaunchHandler] = ()
    pre_kill: Sequence[PreKillHandler] = ()
    authentication: Sequence[AuthenticationStrategy] = ()
    rotation: ContainerRotationStrategy | None = None

    @classmethod
    def of(cls, chosen: PluginInstances) -> Self:
        """The plugins that the configuration has chosen."""
        return cls(
            listeners=chosen.of_type(EventListener),
            pre_launch=chosen.of_type(PreLaunchHandler),
            post_launch=chosen.of_type(PostLaunchHandler),
            pre_kill=chosen.of_type(PreKillHandler),
            authentication=chosen.of_type(AuthenticationStrategy),
            rotation=next(iter(chosen.of_type(ContainerRotationStrategy)), None),
        )


class Plugins:
    """Calls the configured plugins: `lifecycle` at launches and kills, `post_launch` in the background once a
    new deployment of an environment serves, `action_calls` for requests with `action=`.

    Args:
        timeout: seconds that one call may take.
    """

    def __init__(
        self, ports: Ports, urls: Urls, configured: PluginSet, metrics: Metrics, *, timeout: float
    ) -> None:
        self.configured = configured
        self.invoker = Invoker(metrics, timeout)
        self.lifecycle = Lifecycle(
            ports.store,
            urls,
            self.invoker,
            pre_launch=configured.pre_launch,
            post_launch=configured.post_launch,
            pre_kill=configured.pre_kill,
        )
        self.action_calls = ActionCalls(configured.listeners, self.invoker)
        self.post_launch = CoalescingTasks(self.lifecycle.launched)

    async def close(self) -> None:
        """Cancel calls that run in the background."""
        await self.post_launch.close()
