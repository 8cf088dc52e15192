"""A terminal in a running container, by Docker's exec."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import aiodocker
import aiohttp

from stager.domain.errors import Retry
from stager.engines.docker.client import engine_errors
from stager.engines.docker.command_ending import CommandMark, end_command
from stager.ports.engine import Size

HANG_UP = (b"\x03", b"\x04", b"\x04")
"""Interrupt, then end of file, twice for shells that ask back (POSIX, General Terminal Interface, 11.1.9).
What still runs then is killed."""
HANG_UP_PAUSE = 0.1
"""Seconds between them: an interrupt discards the input that follows it."""
CODE_TRIES = 20
"""Docker reports the end of the output shortly before it has the exit code."""


async def open_terminal(
    docker: aiodocker.Docker, container: str, command: Sequence[str], size: Size, kind: str
) -> DockerTerminal:
    """See `ports.engine.Instances.open`."""
    with engine_errors():
        try:
            mark = CommandMark()
            execution = await docker.containers.container(container).exec(
                list(command), stdin=True, tty=True, environment={"TERM": kind, **mark.environment}
            )
            stream = execution.start(detach=False)
            terminal = DockerTerminal(
                execution, stream, lambda: end_command(docker, container, execution, mark)
            )
            await stream.__aenter__()  # starts it; `DockerTerminal.close` ends it
        except aiodocker.DockerError as error:
            if error.status in (404, 409):  # it is gone, or it doesn't run
                raise Retry("The container isn't running any more.", reason="instance-gone") from error
            raise
    await terminal.resize(size)
    return terminal


class DockerTerminal:
    """See `ports.engine.Terminal`.

    Args:
        kill: ends the command for certain.
    """

    def __init__(
        self,
        execution: aiodocker.execs.Exec,
        stream: aiodocker.stream.Stream,
        kill: Callable[[], Awaitable[None]],
    ) -> None:
        self._execution = execution
        self._stream = stream
        self._kill = kill

    async def read(self) -> bytes:
        """See `ports.engine.Terminal.read`."""
        try:
            message = await self._stream.read_out()
        except (aiohttp.ClientError, OSError):
            return b""
        return message.data if message is not None else b""

    async def write(self, data: bytes) -> None:
        """See `ports.engine.Terminal.write`."""
        # aiodocker raises the last two if the command has ended.
        with suppress(aiohttp.ClientError, OSError, AssertionError, RuntimeError):
            await self._stream.write_in(data)

    async def resize(self, size: Size) -> None:
        """See `ports.engine.Terminal.resize`."""
        with suppress(aiodocker.DockerError, aiohttp.ClientError, OSError):
            await self._execution.resize(h=size.rows, w=size.columns)

    async def exit_code(self) -> int | None:
        """See `ports.engine.Terminal.exit_code`."""
        with suppress(aiodocker.DockerError, aiohttp.ClientError, OSError):
            for _ in range(CODE_TRIES):
                known = await self._execution.inspect()
                if not known["Running"]:
                    code: int | None = known["ExitCode"]
                    return code
                await asyncio.sleep(0.05)
        return None

    async def close(self) -> None:
        """See `ports.engine.Terminal.close`."""
        try:
            if await self._runs():
                for key in HANG_UP:
                    await self.write(key)
                    await asyncio.sleep(HANG_UP_PAUSE)
                # Also if the command has ended by now: what it has started may ignore SIGHUP.
                await self._kill()
        finally:
            with suppress(aiohttp.ClientError, OSError, AssertionError):
                await self._stream.close()

    async def _runs(self) -> bool:
        with suppress(aiodocker.DockerError, aiohttp.ClientError, OSError):
            return bool((await self._execution.inspect())["Running"])
        return False
