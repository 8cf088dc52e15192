"""Runs `docker buildx`: its arguments, environment and process group."""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from stager.domain.errors import Fault
from stager.domain.recipe import Recipe
from stager.engines.docker.build.build_context import Context

CHUNK = 1 << 16
"""Bytes per read."""

GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL for a cancelled build."""

_PASSED = ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PASSED_PREFIXES = ("DOCKER_", "XDG_")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
"""The part of Stager's environment that is passed on; the rest may contain secrets."""

_PLAIN_IMAGES = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "BUILDX_GIT_INFO": "0"}
"""Attestations turn an image into an index, which not every engine can store."""

_SECRET_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ARGUMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


LONGEST_STRING = 32 * os.sysconf("SC_PAGE_SIZE") - 1
"""Maximum bytes of an argument or variable, without the terminating NUL (execve(2): MAX_ARG_STRLEN)."""

UNTRUSTED_CACHE = ("--build-arg", "BUILDKIT_CACHE_MOUNT_NS=stager-untrusted")
"""A separate namespace for cache mounts (Dockerfile reference, "BuildKit built-in build args")."""


def command(
    context: Context,
    recipe: Recipe,
    *,
    labels: Mapping[str, str],
    tag: str,
    id_file: Path,
    cgroup_parent: str,
    untrusted: bool = False,
) -> list[str]:
    """The arguments after those of `program`. Values of secrets are passed in `environment` instead.

    Args:
        tag: the image's name; empty for none.
        id_file: the file for the image's id.
        cgroup_parent: the cgroup under which steps run; empty for the engine's own.
        untrusted: whether cache mounts are separate from those of trusted builds.

    Raises:
        Fault: `build-refused`: an invalid name of an argument or a secret.
    """
    return [
        *("build", "--builder", "default", "--progress", "rawjson", "--load"),
        *("--file", str(context.dockerfile), "--iidfile", str(id_file)),
        *(("--tag", tag) if tag else ()),
        *(word for name, value in labels.items() for word in ("--label", f"{name}={value}")),
        *(("--target", recipe.target) if recipe.target else ()),
        *_arguments(recipe),
        *(UNTRUSTED_CACHE if untrusted else ()),
        *(word for name, variable in _secrets(recipe) for word in ("--secret", f"id={name},env={variable}")),
        *(("--cgroup-parent", cgroup_parent) if cgroup_parent else ()),
        str(context.folder),
    ]


def environment(recipe: Recipe, engine: str, folder: Path) -> dict[str, str]:
    """The process's environment variables, including values of secrets.

    Args:
        engine: the engine's address.
        folder: buildx's state, which is deleted after the build.
    """
    ours = {name: value for name, value in os.environ.items() if _is_passed(name)}
    return ours | {
        "DOCKER_HOST": engine,
        "BUILDX_CONFIG": str(folder),
        **_PLAIN_IMAGES,
        **{variable: recipe.secrets[name] for name, variable in _secrets(recipe)},
    }


def isolated_environment(engine: str, folder: Path) -> dict[str, str]:
    """The process's environment variables for an untrusted engine: only the search path is passed on. The
    Docker configuration is an empty folder, without credentials, proxies or headers.

    Args:
        folder: see `environment`.
    """
    home = folder / "home"
    home.mkdir(parents=True)
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "DOCKER_CONFIG": str(home),
        "DOCKER_HOST": engine,
        "BUILDX_CONFIG": str(folder),
        **_PLAIN_IMAGES,
    }


def _is_passed(name: str) -> bool:
    if name in ("DOCKER_CONTEXT", "DOCKER_HOST"):
        return False
    return name in _PASSED or name.startswith(_PASSED_PREFIXES) or name.lower() in _PROXIES


def _arguments(recipe: Recipe) -> Iterator[str]:
    for name, value in recipe.arguments.items():
        if not _ARGUMENT_NAME.fullmatch(name):
            raise _bad_name("argument", name, "letters, digits and `_`")
        yield from ("--build-arg", _fitting("argument", name, f"{name}={value}"))


def _secrets(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Each secret's id and the variable with its value."""
    for number, name in enumerate(recipe.secrets):
        if not _SECRET_ID.fullmatch(name):
            raise _bad_name("secret", name, "letters, digits, `_`, `.` and `-`")
        variable = f"STAGER_BUILD_SECRET_{number}"
        _fitting("secret", name, f"{variable}={recipe.secrets[name]}")
        yield name, variable


def _fitting(kind: str, name: str, text: str) -> str:
    """The text, if it is short enough for execve(2)."""
    if (length := len(os.fsencode(text))) <= LONGEST_STRING:
        return text
    raise Fault(
        f'The build {kind} "{name}" is too large: {length:,} bytes with its name.',
        hint=f"Linux allows {LONGEST_STRING:,} bytes at most. Let the build fetch the value instead.",
        reason="value-too-large",
    )


def _bad_name(kind: str, name: str, allowed: str) -> Fault:
    return Fault(
        f'"{name}" isn\'t a valid name of a build {kind}.',
        hint=f"Names consist of {allowed}.",
        reason="build-refused",
    )


BY_DOCKER = ("docker", "buildx")


async def program(variables: Mapping[str, str]) -> Sequence[str]:
    """The command that runs buildx: the plugin's own file if `docker` reports its path. Through `docker`,
    which starts the plugin twice, each build takes 40 ms longer.

    Args:
        variables: the environment of `docker`, which also runs the other plugins.
    """
    output: list[str] = []
    await run(["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"], variables, output.append)
    for line in "".join(output).splitlines():  # Among error messages, if the engine doesn't answer.
        with suppress(ValueError, TypeError, KeyError, StopIteration):
            path = next(plugin["Path"] for plugin in json.loads(line) if plugin["Name"] == "buildx")
            return (path,) if shutil.which(path) else BY_DOCKER
    return BY_DOCKER


async def is_installed() -> bool:
    """Whether `docker buildx` is installed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(*BY_DOCKER, "version"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return False
    return await process.wait() == 0


async def run(
    arguments: Sequence[str], variables: Mapping[str, str], on_output: Callable[[str], None]
) -> int:
    """Run a command and return its exit code. Cancellation ends the command and its children.

    Args:
        on_output: called with each piece of output.
    """
    process = await asyncio.create_subprocess_exec(
        *arguments,
        env=dict(variables),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # A process group of its own, to end it with its children.
        start_new_session=True,
    )
    try:
        await _listen(process, on_output)
        return await process.wait()
    finally:
        if process.returncode is None:
            await asyncio.shield(_end(process))


async def _listen(process: asyncio.subprocess.Process, on_output: Callable[[str], None]) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while process.stdout and (chunk := await process.stdout.read(CHUNK)):
        on_output(decoder.decode(chunk))


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, which makes the engine cancel the build's steps; then SIGKILL."""
    _signal(process, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), GRACE)
    except TimeoutError:
        _signal(process, signal.SIGKILL)
        await process.wait()
    _signal(process, signal.SIGKILL)  # Children that are left.


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
