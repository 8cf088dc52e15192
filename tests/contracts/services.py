"""Instances of services, on any engine under test."""

from __future__ import annotations

import asyncio
from typing import Any

from stager.domain.environment import Instance
from tests.contracts.engines import Engine, instance_labels


async def made(
    engine: Engine,
    service: str,
    generation: int = 1,
    *,
    kept: bool = False,
    environment: str = "e1",
    **more: Any,
) -> Instance:
    """An instance of a service that answers with environment, service and generation."""
    labels = instance_labels(environment, generation, service)
    who = f"{environment}-{service}{generation}"
    spec = await engine.service(labels, who, network=0 if kept else generation, **more)
    return await engine.instances.create(spec)


async def started(engine: Engine, service: str, generation: int = 1, **more: Any) -> Instance:
    """As `made`, once it accepts connections."""
    instance = await engine.instances.start((await made(engine, service, generation, **more)).id)
    async with asyncio.timeout(20):
        while not await accepts(engine, instance):
            await asyncio.sleep(0.02)
    return instance


async def accepts(engine: Engine, instance: Instance) -> bool | None:
    assert instance.endpoint
    return await engine.prober.accepts(instance.endpoint)
