"""Runs git in a controlled environment, without the machine's configuration, credential helpers and hooks.
All drivers that work with repositories use this module."""

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
"""Maximum number of bytes kept of each of git's output streams."""

INHERITED = (
    "PATH", "TMPDIR", "TZ",
    "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
)  # fmt: skip
"""Environment variables that git inherits: where programs are, and the proxies and certificates of a
company's network."""

Configuration = Mapping[str, str]
"""Values by git's names, such as `core.hooksPath`."""

HARDENED: Configuration = {
    "advice.detachedHead": "false",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "gc.auto": "0",
    "maintenance.auto": "false",
    # Repositories of other users of this machine are only used where Stager's configuration names them.
    "safe.directory": "*",
}


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a git command.

    Args:
        code: the exit code.
        errors: its standard error.
    """

    code: int
    output: bytes
    errors: str

    @property
    def text(self) -> str:
        """Its output as text, stripped."""
        return self.output.decode(errors="replace").strip()


def environment(configuration: Configuration | None = None, *, protocols: str = "") -> dict[str, str]:
    """The environment variables that git runs with. They contain the configuration, too, because all users of
    a machine can read a process's arguments (git-config(1), `GIT_CONFIG_COUNT`).

    Args:
        configuration: in addition to `HARDENED`.
        protocols: the allowed ones, separated by colons (git(1), `GIT_ALLOW_PROTOCOL`).
    """
    values = {**HARDENED, **(configuration or {})}
    variables = {
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
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | variables


USUAL_UMASK = 0o022
"""Files that git writes become part of an image, where other users must be able to read them, or of a
repository that other users may clone. Stager's own files are in folders that other users can't enter."""


@asynccontextmanager
async def started(
    arguments: Sequence[str | Path],
    environ: Mapping[str, str],
    *,
    cwd: Path | None = None,
    has_input: bool = False,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running git process. If it still runs at the end of the context, its process group is killed.

    Args:
        environ: see `environment`.
        has_input: whether its standard input is a pipe.

    Raises:
        Fault: `git-missing`: git isn't installed.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            *(str(argument) for argument in arguments),
            stdin=asyncio.subprocess.PIPE if has_input else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=cwd,
            env=environ,
            start_new_session=True,
            umask=USUAL_UMASK,
        )
    except FileNotFoundError as error:
        raise Fault(
            "git isn't installed.",
            hint="Install it (on Debian and Ubuntu: apt-get install git).",
            reason="git-missing",
        ) from error
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(asyncio.ensure_future(_reap(process)))


async def _reap(process: asyncio.subprocess.Process) -> None:
    """Wait for its end, which asyncio only notices once all output is read."""
    await asyncio.gather(read_all(process.stdout, 0), read_all(process.stderr, 0))
    await process.wait()


async def git(
    *arguments: str | Path,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    input_: bytes | None = None,
) -> Result:
    """Run git and wait for its end. When cancelled, its process group is killed.

    Args:
        environ: see `environment`, which is the default.
        input_: its standard input.

    Raises:
        Fault: `git-missing`.
    """
    async with started(
        arguments, environment() if environ is None else environ, cwd=cwd, has_input=input_ is not None
    ) as process:
        _, output, errors = await asyncio.gather(
            _send(process.stdin, input_), read_all(process.stdout), read_all(process.stderr)
        )
        code = await process.wait()
    return Result(code, output, errors.decode(errors="replace"))


async def _send(stream: asyncio.StreamWriter | None, input_: bytes | None) -> None:
    if stream is None or input_ is None:
        return
    with contextlib.suppress(ConnectionError):  # it exited before reading all input; the exit code says why
        stream.write(input_)
        await stream.drain()
        stream.close()
        await stream.wait_closed()


async def read_all(stream: asyncio.StreamReader | None, limit: int = LARGEST_OUTPUT) -> bytes:
    """Read to the end. Returns at most the first `limit` bytes."""
    kept = bytearray()
    while stream is not None and (chunk := await stream.read(65536)):
        kept += chunk[: max(0, limit - len(kept))]
    return bytes(kept)
