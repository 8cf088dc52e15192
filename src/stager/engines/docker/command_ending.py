"""Ends commands that run inside a container. Docker has no call for it, and doesn't end the process of an
exec when its client disconnects."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiodocker
import aiohttp
import structlog

log = structlog.get_logger(__name__)

MARK = "STAGER_EXEC_ID"
"""The environment variable by which a command and what it starts are found."""
SECONDS = 20.0
"""Maximum time of the program that ends a command."""
PROC = Path("/proc")

KILL = r"""
mark=$1 roots=" $2 " rounds=50
text() {
  all=
  while read -r line || [ -n "$line" ]; do all="$all $line"; done
}
while [ $rounds -gt 0 ]; do
  rounds=$((rounds - 1)) found=
  for folder in /proc/[0-9]*; do
    pid=${folder#/proc/}
    [ "$pid" != 1 ] && [ "$pid" != $$ ] || continue
    text 2>/dev/null <"$folder/stat" || continue
    set -- ${all##*) }
    [ "$1" != Z ] && [ "$1" != X ] || continue
    case "$roots" in *" $pid "* | *" $2 "* | *" $4 "*) ours=1 ;; *) ours= ;; esac
    if [ -z "$ours" ]; then
      text 2>/dev/null <"$folder/environ"
      case "$all" in *"$mark"*) ours=1 ;; esac
    fi
    [ -n "$ours" ] || continue
    case "$roots" in *" $pid "*) ;; *) roots="$roots$pid " ;; esac
    kill -9 "$pid" 2>/dev/null && found=1
  done
  [ -n "$found" ] || exit 0
done
exit 1
"""
"""Kills the processes that have the mark in their environment or are among the given ones, their descendants
and the members of their sessions, until there are none. Only built-in commands of a POSIX shell are used."""


@dataclass(frozen=True, slots=True)
class CommandMark:
    """Identifies one run of a command."""

    value: str = field(default_factory=lambda: secrets.token_hex(12))

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables to start the command with."""
        return {MARK: self.value}


async def end_command(
    docker: aiodocker.Docker, container: str, execution: aiodocker.execs.Exec, mark: CommandMark
) -> None:
    """Kill a command that may still run, with what it has started. Where the image has no shell, it runs
    until it ends itself or the container stops."""
    with suppress(aiohttp.ClientError, OSError):
        try:
            async with asyncio.timeout(SECONDS):
                code = await _kill(docker, container, await _pid_inside(execution, container), mark)
        except TimeoutError:
            code = None
        except aiodocker.DockerError as error:
            if error.status in (404, 409):  # the container is gone or doesn't run: then nor does the command
                return
            code = None
        if code != 0:
            log.warning("command_not_ended", container=container)


async def _kill(docker: aiodocker.Docker, container: str, pid: int, mark: CommandMark) -> int | None:
    """Run the shell program in the container, as the user of the command. Returns its exit code."""
    program = ["sh", "-c", KILL, "stager", f"{MARK}={mark.value}", str(pid or "")]
    execution = await docker.containers.container(container).exec(program)
    async with execution.start(detach=False) as stream:
        while await stream.read_out() is not None:
            pass
    code: int | None = (await execution.inspect())["ExitCode"]
    return code


async def _pid_inside(execution: aiodocker.execs.Exec, container: str) -> int:
    """The number that the command's process has inside the container; 0 if it can't be determined, as when
    Docker runs on another machine or the container in a virtual one. It is found also if it has removed the
    mark from its environment."""
    pid = (await execution.inspect()).get("Pid") or 0
    try:
        if container not in (PROC / str(pid) / "cgroup").read_text():
            return 0
        status = (PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return int(numbers[-1]) if len(numbers) > 1 else 0
