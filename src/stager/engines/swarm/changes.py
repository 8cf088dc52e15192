"""Follows the events of the nodes about containers, and those of the manager about nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiodocker
import aiohttp
import structlog
from aiodocker.events import DockerEvents

from stager.domain.errors import Retry, StagerError
from stager.engines.docker import labels
from stager.engines.docker.events import EVENTS, RECONNECT_DELAY
from stager.engines.swarm.connections import NodeEngines
from stager.engines.swarm.overview import Overview

log = structlog.get_logger(__name__)

REPORT_DELAY = 1.5
"""Seconds after which an event is repeated: the manager learns of the end of a container from its node, up to
a second after the event."""


class ChangeStream:
    """The ids of environments that changed, from all nodes. One stream.

    Args:
        manager: the manager's engine.
        overview: the nodes.
        nodes: their engines.
        installation: the id of the installation.
    """

    def __init__(
        self, manager: aiodocker.Docker, overview: Overview, nodes: NodeEngines, installation: str
    ) -> None:
        self._manager = manager
        self._overview = overview
        self._nodes = nodes
        self._installation = installation
        self._changed: asyncio.Queue[str] = asyncio.Queue()
        self._followed: dict[str, asyncio.Task[None]] = {}
        """By the id of the node."""
        self._repeated: set[asyncio.Task[None]] = set()

    async def read(self) -> AsyncIterator[str]:
        """See `ports.engine.Instances.events`."""
        following = asyncio.create_task(self._follow_manager())
        try:
            while True:
                yield await self._changed.get()
        finally:
            tasks = [following, *self._followed.values(), *self._repeated]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_manager(self) -> None:
        """Report everything as changed at the start and with each change of a node."""
        while True:
            try:
                await self._follow_nodes()
                async for event in events_of(self._manager, {"type": ["node"]}):
                    if _matters(event):
                        await self._follow_nodes()
            except (aiodocker.DockerError, aiohttp.ClientError, OSError, StagerError) as error:
                log.info("engine_events_interrupted", error=str(error))
            await asyncio.sleep(RECONNECT_DELAY)

    async def _follow_nodes(self) -> None:
        ready = set(await self._overview.ready_nodes())
        for node in set(self._followed) - ready:
            self._followed.pop(node).cancel()
        for node in ready - set(self._followed):
            self._followed[node] = asyncio.create_task(self._follow_node(node))
        self._changed.put_nowait("")

    async def _follow_node(self, node: str) -> None:
        wanted = {
            "type": ["container"],
            "event": EVENTS,
            "label": [f"{labels.INSTALLATION}={self._installation}"],
        }
        while True:
            try:
                docker = await self._nodes.docker(node)
                async for event in events_of(docker, wanted):
                    self._report(event["Actor"]["Attributes"].get(labels.ENVIRONMENT, ""))
            except (aiodocker.DockerError, aiohttp.ClientError, OSError, Retry) as error:
                log.info("node_events_interrupted", node=node, error=str(error))
            await asyncio.sleep(RECONNECT_DELAY)
            self._report("")

    def _report(self, environment: str) -> None:
        self._changed.put_nowait(environment)
        task = asyncio.create_task(self._repeat(environment))
        self._repeated.add(task)
        task.add_done_callback(self._repeated.discard)

    async def _repeat(self, environment: str) -> None:
        await asyncio.sleep(REPORT_DELAY)
        self._changed.put_nowait(environment)


def _matters(event: Mapping[str, Any]) -> bool:
    """Whether a node joined, left, was lost, returned or is drained, rather than that its labels changed."""
    return event["Action"] != "update" or any("." in name for name in event["Actor"]["Attributes"])


async def events_of(
    docker: aiodocker.Docker, wanted: Mapping[str, list[str]]
) -> AsyncIterator[Mapping[str, Any]]:
    """One connection to an engine's event stream."""
    stream = DockerEvents(docker)
    subscriber = stream.subscribe(filters=aiodocker.utils.clean_filters(wanted))
    try:
        while (event := await subscriber.get()) is not None:
            yield event
    finally:
        if stream.task is not None:
            stream.task.cancel()
            await asyncio.gather(stream.task, return_exceptions=True)
