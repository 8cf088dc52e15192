"""Runs commands in a running container, and the image's HEALTHCHECK."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import aiodocker

from stager.domain.errors import Fault, Retry
from stager.engines.docker import labels
from stager.engines.docker.client import engine_errors
from stager.engines.docker.command_ending import CommandMark, end_command
from stager.ports.engine import Checked, Ran

OUTPUT_KEPT = 64 * 1024
"""Maximum number of bytes of a command's output that are kept, from its end."""
CANNOT_RUN = (126, 127)
"""The exit codes for a program that can't be executed or isn't found (POSIX, Shell & Utilities, 2.8.2)."""


NANOSECONDS = 1_000_000_000
CHECK_TIMEOUT = 30.0
"""Docker's default timeout of a HEALTHCHECK in seconds (Dockerfile reference, HEALTHCHECK)."""
MISSING = re.compile(
    r"^(?:\S*/)?(?:ba|da|a|k|z)?sh: (?:(?:line )?\d+: )?\S+: "
    r"(?:(?:command )?not found|Permission denied)\s*$",
    re.MULTILINE,
)
"""The messages of shells that can't run a program."""


async def run_inside(docker: aiodocker.Docker, container: str, command: Sequence[str], timeout: float) -> Ran:
    """See `ports.engine.Instances.run`."""
    ran = await _execute(docker, container, command, timeout)
    if _could_not_start(ran):
        raise Fault(
            f"`{command[0]}` can't be run in the container.",
            hint="Check that the program is in the image, and executable.",
            reason="hook-failed",
            detail=ran.output,
        )
    return ran


async def _execute(docker: aiodocker.Docker, container: str, command: Sequence[str], timeout: float) -> Ran:
    with engine_errors():
        try:
            mark = CommandMark()
            execution = await docker.containers.container(container).exec(
                list(command), environment=mark.environment
            )
            ended = False
            try:
                output, ended = await _output_of(execution, timeout)
                code = (await execution.inspect())["ExitCode"] if ended else None
            finally:
                if not ended:
                    await end_command(docker, container, execution, mark)
        except aiodocker.DockerError as error:
            if error.status in (404, 409):  # it is gone, or it doesn't run
                raise Retry("The container isn't running any more.", reason="instance-gone") from error
            raise
    return Ran(code, output)


def _could_not_start(ran: Ran) -> bool:
    """Whether Docker couldn't start the program."""
    return ran.exit_code in CANNOT_RUN and "exec failed" in ran.output


async def _output_of(execution: aiodocker.execs.Exec, timeout: float) -> tuple[str, bool]:
    """The end of the output, and whether the command ended in time."""
    kept = b""
    try:
        async with asyncio.timeout(timeout), execution.start(detach=False) as stream:
            while (message := await stream.read_out()) is not None:
                kept = (kept + message.data)[-OUTPUT_KEPT:]
    except TimeoutError:
        return kept.decode("utf-8", "replace"), False
    return kept.decode("utf-8", "replace"), True


async def check(docker: aiodocker.Docker, container: str) -> Checked | None:
    """See `ports.engine.Instances.check`."""
    with engine_errors():
        try:
            found = await docker.containers.container(container).show()
            if not found["State"]["Running"]:
                return Checked(healthy=False)
            config = found["Config"]
            own = config["Labels"].get(labels.HEALTHCHECK, "")
            if own == "image":
                config = (await docker.images.inspect(found["Image"]))["Config"]
            elif own:
                config = {**config, "Healthcheck": json.loads(own)}
        except aiodocker.DockerError as error:
            if error.status == 404:
                return Checked(healthy=False)
            raise
    command, timeout = _command_of(config)
    if not command:
        return None
    try:
        return judged(await _execute(docker, container, command, timeout))
    except Retry as error:
        if error.reason != "instance-gone":
            raise
        return Checked(healthy=False)


def _command_of(config: Mapping[str, Any]) -> tuple[list[str], float]:
    """The command of the HEALTHCHECK and its timeout in seconds; an empty command if there is none."""
    healthcheck = config.get("Healthcheck") or {}
    timeout = (healthcheck.get("Timeout") or 0) / NANOSECONDS or CHECK_TIMEOUT
    match healthcheck.get("Test") or ["NONE"]:
        case ["CMD", *words]:
            return words, timeout
        case ["CMD-SHELL", line]:
            return [*(config.get("Shell") or ("/bin/sh", "-c")), line], timeout
        case _:
            return [], timeout


def judged(ran: Ran) -> Checked:
    """The result of a run of the HEALTHCHECK. It couldn't be run if its program, or one that its shell line
    names, doesn't exist; `curl ... || exit 1` hides that from the exit code."""
    if ran.exit_code == 0:
        return Checked(healthy=True, output=ran.output)
    if ran.exit_code in CANNOT_RUN or MISSING.search(ran.output):
        return Checked(healthy=None, output=ran.output)
    late = "" if ran.exit_code is not None else "\n(it took too long)"
    return Checked(healthy=False, output=f"{ran.output}{late}")
