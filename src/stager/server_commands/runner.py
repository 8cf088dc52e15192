"""Runs commands in processes of this machine."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from stager.ports.server_commands import CommandResult

GUARD = Path(__file__).with_name("guard.py")
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_ERRORS = 16 * 1024
"""Bytes of standard error that are kept, the last ones."""
LEFT_OVER = 5.0
"""Seconds for the rest of the output after a command was killed."""


class LocalCommands:
    """A `stager.ports.server_commands.ServerCommands`."""

    async def run(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        *,
        folder: str,
        timeout: float,
        max_output: int,
    ) -> CommandResult:
        """See `ServerCommands.run`."""
        environ = {**variables, "PATH": os.environ.get("PATH") or USUAL_PATH}
        try:
            process = await self._start(command, environ, folder)
        except OSError as error:
            return CommandResult(127, errors=f"{folder}: {error.strerror}")
        reading = asyncio.gather(_first(process.stdout, max_output + 1), _last(process.stderr, MAX_ERRORS))
        is_over = False
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(reading)
                await process.wait()
        except TimeoutError:
            is_over = True
        finally:
            await asyncio.shield(asyncio.ensure_future(_end(process)))
            await asyncio.wait({reading}, timeout=LEFT_OVER)
            reading.cancel()
        output, errors = reading.result() if reading.done() and not reading.cancelled() else (b"", b"")
        code = None if is_over else process.returncode
        return CommandResult(code, output, errors.decode(errors="replace"))

    @staticmethod
    async def _start(
        command: Sequence[str], environ: Mapping[str, str], folder: str
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", str(GUARD), *command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder,
            env=environ,
            start_new_session=True,
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the guard, which ends the command. asyncio only notices the end once both outputs are closed, and a
    process that has left the command's group may keep them open."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(LEFT_OVER):
            await process.wait()
    except TimeoutError:
        process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001


async def _first(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    """Read to the end. Returns the first `limit` bytes."""
    kept = bytearray()
    while stream is not None and (chunk := await stream.read(65_536)):
        kept += chunk[: max(0, limit - len(kept))]
    return bytes(kept)


async def _last(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    """Read to the end. Returns the last `limit` bytes."""
    kept = bytearray()
    while stream is not None and (chunk := await stream.read(65_536)):
        kept += chunk
        del kept[:-limit]
    return bytes(kept)
