"""The engine `swarm`: previews run on all nodes of a Docker Swarm."""

from __future__ import annotations

from stager.assembly.engines.parts import EngineContext, EngineParts
from stager.domain.errors import Fault


async def swarm_engine(context: EngineContext) -> EngineParts:
    """Connect to the swarm. Raises Fault: there is no engine yet."""
    raise Fault(
        f"The engine `{context.settings.engine.kind}` can't run previews yet.",
        hint="Use `engine: {kind: docker}`.",
        reason="engine-unusable",
    )
