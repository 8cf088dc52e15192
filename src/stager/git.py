"""Runs git: in an environment of ours, in which no configuration of this machine, no credential helper and no
hook has a say. The drivers that have to do with repositories run it by this module."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from stager.domain.errors import Fault

LARGEST_OUTPUT = 32 * 1024 * 1024
"""Bytes that are kept of what git says."""

KEPT = (
    "PATH", "TMPDIR", "TZ",
    "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
)  # fmt: skip
"""What git may know of our own environment: where programs are, and how a company's network is left."""

Configuration = Mapping[str, str]
"""Values by git's names, such as `core.hooksPath`."""

HARDENED: Configuration = {
    "advice.detachedHead": "false",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "gc.auto": "0",
    "maintenance.auto": "false",
    # Repositories of other users of this machine are reached only where our own configuration names them.
    "safe.directory": "*",
}


@dataclass(frozen=True, slots=True)
class Done:
    """How a git ended.

    Args:
        code: 0 if all is well.
        errors: what it said on standard error.
    """

    code: int
    output: bytes
    errors: str

    @property
    def text(self) -> str:
        """Its output as text, without the white space around it."""
        return self.output.decode(errors="replace").strip()


def environment(configuration: Configuration | None = None, *, protocols: str = "") -> dict[str, str]:
    """What a git of ours runs in. Configuration goes this way, too, because everybody on a machine can read
    a process's arguments (git-config(1), `GIT_CONFIG_COUNT`).

    Args:
        configuration: what holds besides `HARDENED`.
        protocols: the only ones that it may speak, separated by colons (git(1), `GIT_ALLOW_PROTOCOL`).
    """
    values = {**HARDENED, **(configuration or {})}
    told = {
        "LC_ALL": "C",
        "HOME": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_ALLOW_PROTOCOL": protocols or "none",
        "GIT_CONFIG_COUNT": str(len(values)),
    }
    for number, (key, value) in enumerate(values.items()):
        told |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {name: os.environ[name] for name in KEPT if name in os.environ} | told


USUAL_UMASK = 0o022
"""What git writes becomes an image, in which other users must be able to read it, or a repository that others
may clone. Our own files are in folders that are closed to others."""


@asynccontextmanager
async def started(
    arguments: Sequence[str | Path],
    environ: Mapping[str, str],
    *,
    cwd: Path | None = None,
    reads: bool = False,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A git that runs. At the end of the context it is killed, with whatever it started, unless it ended.

    Args:
        environ: of `environment`.
        reads: whether something will be written to it.

    Raises:
        Fault: `git-missing`: there is none here.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            *(str(argument) for argument in arguments),
            stdin=asyncio.subprocess.PIPE if reads else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=cwd,
            env=environ,
            start_new_session=True,
            umask=USUAL_UMASK,
        )
    except FileNotFoundError as error:
        raise Fault(
            "There is no `git` here.",
            hint="Install it (on Debian and Ubuntu: apt-get install git).",
            reason="git-missing",
        ) from error
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(asyncio.ensure_future(_reaped(process)))


async def _reaped(process: asyncio.subprocess.Process) -> None:
    """Wait for its end. asyncio doesn't see that while there is something to read."""
    await asyncio.gather(collected(process.stdout, 0), collected(process.stderr, 0))
    await process.wait()


async def git(
    *arguments: str | Path,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    given: bytes | None = None,
) -> Done:
    """Run git to its end. Cancelled, it is killed with whatever it started.

    Args:
        environ: of `environment`, which is the default.
        given: what it reads.

    Raises:
        Fault: `git-missing`.
    """
    async with started(
        arguments, environment() if environ is None else environ, cwd=cwd, reads=given is not None
    ) as process:
        _, output, errors = await asyncio.gather(
            _give(process.stdin, given), collected(process.stdout), collected(process.stderr)
        )
        code = await process.wait()
    return Done(code, output, errors.decode(errors="replace"))


async def _give(stream: asyncio.StreamWriter | None, given: bytes | None) -> None:
    if stream is None or given is None:
        return
    with contextlib.suppress(ConnectionError):  # it ended without reading all, and its exit code says why
        stream.write(given)
        await stream.drain()
        stream.close()
        await stream.wait_closed()


async def collected(stream: asyncio.StreamReader | None, limit: int = LARGEST_OUTPUT) -> bytes:
    """All that comes, to the end; of what is longer than `limit` bytes, the beginning."""
    kept = bytearray()
    while stream is not None and (chunk := await stream.read(65536)):
        kept += chunk[: max(0, limit - len(kept))]
    return bytes(kept)
