"""Runs the hooks of an application in its instances."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import structlog

from stager.domain.environment import Instance
from stager.domain.errors import Fault
from stager.ports.engine import Instances

log = structlog.get_logger(__name__)

HOOK_SECONDS = 600.0
LAST_LINES = 30
KILLED = 137
"""128 + SIGKILL."""
KILLED_HINT = (
    "It was killed, most likely because it and the application together exceeded their limit, `memory` in "
    "the configuration."
)


async def run_hooks(
    instances: Instances, instance: Instance, moment: str, commands: Sequence[Sequence[str]]
) -> None:
    """Run these commands in the instance, one after the other.

    Args:
        moment: the name of the hook for users, such as `after_launch`.

    Raises:
        Fault: `hook-failed`: one of them failed or took too long; the others aren't run then.
        Retry: the engine doesn't answer.
    """
    for command in commands:
        ran = await instances.run(instance.id, command, HOOK_SECONDS)
        log.info("hook_ran", environment=instance.environment, moment=moment, exit_code=ran.exit_code)
        if ran.exit_code != 0:
            ended = (
                f"took over {HOOK_SECONDS:g} s"
                if ran.exit_code is None
                else f"ended with exit code {ran.exit_code}"
            )
            raise Fault(
                f"The {moment} hook `{shlex.join(command)}` {ended}.",
                hint=KILLED_HINT
                if ran.exit_code == KILLED
                else "It runs in the working directory of the instance. Check the last lines of its output.",
                reason="hook-failed",
                detail="\n".join(ran.output.splitlines()[-LAST_LINES:]),
            )
