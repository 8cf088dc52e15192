"""Follows Docker's events about Stager's containers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiodocker
import aiohttp
import structlog
from aiodocker.events import DockerEvents

from stager.engines.docker import labels
from stager.engines.docker.inspections import Inspections

log = structlog.get_logger(__name__)

EVENTS = ["start", "pause", "unpause", "die", "destroy"]

RECONNECT_DELAY = 2.0
"""Seconds until the event stream is requested again after an interruption."""


async def changed_environments(
    docker: aiodocker.Docker, installation: str, inspections: Inspections
) -> AsyncIterator[str]:
    """See `ports.engine.Instances.events`.

    Args:
        inspections: learns which containers changed.
    """
    while True:
        try:
            async for environment in _stream(docker, installation, inspections):
                yield environment
        except (aiodocker.DockerError, aiohttp.ClientError, OSError) as error:
            log.info("engine_events_interrupted", error=str(error))
        await asyncio.sleep(RECONNECT_DELAY)


async def _stream(
    docker: aiodocker.Docker, installation: str, inspections: Inspections
) -> AsyncIterator[str]:
    """One connection to the event stream. Docker replays nothing after a restart, so each begins with an
    empty id."""
    stream = DockerEvents(docker)
    label = f"{labels.INSTALLATION}={installation}"
    ours = {"type": ["container"], "event": EVENTS, "label": [label]}
    subscriber = stream.subscribe(filters=aiodocker.utils.clean_filters(ours))
    try:
        yield ""
        while (event := await subscriber.get()) is not None:
            inspections.on_event(event["Actor"]["ID"])
            yield event["Actor"]["Attributes"].get(labels.ENVIRONMENT, "")
    finally:
        inspections.stop()
        if stream.task is not None:
            stream.task.cancel()
            await asyncio.gather(stream.task, return_exceptions=True)
