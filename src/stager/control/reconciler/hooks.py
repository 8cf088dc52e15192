"""Runs the hooks of an application in its instances."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import structlog

from stager.domain.environment import Instance
from stager.domain.errors import Fault
from stager.domain.recipe import Hook
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
    instances: Instances, instance: Instance, moment: str, hooks: Sequence[Hook], *, is_main: bool
) -> None:
    """Run those of these hooks that belong to the instance's service, one after the other.

    Args:
        moment: the name of the hooks for users, such as `after_launch`.
        is_main: whether the instance runs the main service.

    Raises:
        Fault: `hook-failed`: one of them failed or took too long; the others aren't run then.
        Retry: the engine doesn't answer.
    """
    for hook in hooks:
        if hook.service != instance.service and (hook.service or not is_main):
            continue
        ran = await instances.run(instance.id, hook.command, HOOK_SECONDS)
        log.info(
            "hook_ran",
            environment=instance.environment,
            service=instance.service,
            moment=moment,
            exit_code=ran.exit_code,
        )
        if ran.exit_code != 0:
            ended = (
                f"took over {HOOK_SECONDS:g} s"
                if ran.exit_code is None
                else f"ended with exit code {ran.exit_code}"
            )
            place = f' in the service "{instance.service}"' if hook.service else ""
            raise Fault(
                f"The {moment} hook `{shlex.join(hook.command)}`{place} {ended}.",
                hint=KILLED_HINT
                if ran.exit_code == KILLED
                else "It runs in the working directory of the instance. Check the last lines of its output.",
                reason="hook-failed",
                detail="\n".join(ran.output.splitlines()[-LAST_LINES:]),
            )
