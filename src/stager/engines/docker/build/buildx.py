"""`docker buildx` as a process: what it is told, and that nothing of it is left in the end."""

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
"""Bytes that are read at once."""

GRACE = 3.0
"""Seconds between the polite end of a build that is cancelled and the other one."""

_HANDED_ON = ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_HANDED_ON_BEGINNINGS = ("DOCKER_", "XDG_")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
"""Of our own environment, which has secrets in it, the process gets this alone."""

_PLAIN_IMAGES = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "BUILDX_GIT_INFO": "0"}
"""Attestations make an index of an image, which not every engine can keep."""

_SECRET_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ARGUMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


LONGEST_STRING = 32 * os.sysconf("SC_PAGE_SIZE") - 1
"""Bytes of one argument or variable that a program is given, without the zero at its end (execve(2):
MAX_ARG_STRLEN)."""

STRANGERS_CACHE = ("--build-arg", "BUILDKIT_CACHE_MOUNT_NS=stager-strangers")
"""Gives cache mounts a namespace of their own (Dockerfile reference, "BuildKit built-in build args")."""


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
    """The process's arguments, what `program` gives aside. The values of secrets aren't among them: those are
    in `environment`.

    Args:
        tag: the image's name; empty for none.
        id_file: where the image's id is to be written.
        cgroup_parent: the cgroup under which steps run; empty for the engine's own.
        untrusted: whether its cache mounts are apart from those of others.

    Raises:
        Fault: `build-refused`: a name that can't be one of an argument or a secret.
    """
    return [
        *("build", "--builder", "default", "--progress", "rawjson", "--load"),
        *("--file", str(context.dockerfile), "--iidfile", str(id_file)),
        *(("--tag", tag) if tag else ()),
        *(word for name, value in labels.items() for word in ("--label", f"{name}={value}")),
        *(("--target", recipe.target) if recipe.target else ()),
        *_arguments(recipe),
        *(STRANGERS_CACHE if untrusted else ()),
        *(word for name, variable in _secrets(recipe) for word in ("--secret", f"id={name},env={variable}")),
        *(("--cgroup-parent", cgroup_parent) if cgroup_parent else ()),
        str(context.folder),
    ]


def environment(recipe: Recipe, engine: str, folder: Path) -> dict[str, str]:
    """The process's environment variables; they hold the values of secrets.

    Args:
        engine: the engine's address, so that the process speaks with the same one as we do.
        folder: where buildx may keep its notes, which nobody needs after the build.
    """
    ours = {name: value for name, value in os.environ.items() if _is_handed_on(name)}
    return ours | {
        "DOCKER_HOST": engine,
        "BUILDX_CONFIG": str(folder),
        **_PLAIN_IMAGES,
        **{variable: recipe.secrets[name] for name, variable in _secrets(recipe)},
    }


def isolated_environment(engine: str, folder: Path) -> dict[str, str]:
    """The process's environment variables where the engine isn't trusted. Of ours there is the search path
    alone. The Docker configuration is an empty folder: there are no credentials, proxies or headers.

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


def _is_handed_on(name: str) -> bool:
    if name in ("DOCKER_CONTEXT", "DOCKER_HOST"):
        return False
    return name in _HANDED_ON or name.startswith(_HANDED_ON_BEGINNINGS) or name.lower() in _PROXIES


def _arguments(recipe: Recipe) -> Iterator[str]:
    for name, value in recipe.arguments.items():
        if not _ARGUMENT_NAME.fullmatch(name):
            raise _bad_name("argument", name, "letters, digits and `_`")
        yield from ("--build-arg", _fitting("argument", name, f"{name}={value}"))


def _secrets(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Each secret's id, with the variable that has its value."""
    for number, name in enumerate(recipe.secrets):
        if not _SECRET_ID.fullmatch(name):
            raise _bad_name("secret", name, "letters, digits, `_`, `.` and `-`")
        variable = f"STAGER_BUILD_SECRET_{number}"
        _fitting("secret", name, f"{variable}={recipe.secrets[name]}")
        yield name, variable


def _fitting(kind: str, name: str, text: str) -> str:
    """The text, if a program can be given it."""
    if (length := len(os.fsencode(text))) <= LONGEST_STRING:
        return text
    raise Fault(
        f'The build {kind} "{name}" is too large: with its name it has {length:,} bytes.',
        hint=f"Linux lets a program have {LONGEST_STRING:,} at most in one piece. Have the build fetch it.",
        reason="value-too-large",
    )


def _bad_name(kind: str, name: str, allowed: str) -> Fault:
    return Fault(
        f'"{name}" can\'t be the name of a build {kind}.',
        hint=f"Names are made of {allowed}.",
        reason="build-refused",
    )


BY_DOCKER = ("docker", "buildx")


async def program(variables: Mapping[str, str]) -> Sequence[str]:
    """The words that run it: the plugin's own file, where `docker` tells where that is. By way of `docker`,
    which starts it a second time to ask what it is, each build would take some 40 ms longer.

    Args:
        variables: of the environment of `docker`, and of the other plugins, which it asks as well.
    """
    said: list[str] = []
    await run(["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"], variables, said.append)
    for line in "".join(said).splitlines():  # among complaints, where the engine is away
        with suppress(ValueError, TypeError, KeyError, StopIteration):
            path = next(plugin["Path"] for plugin in json.loads(line) if plugin["Name"] == "buildx")
            return (path,) if shutil.which(path) else BY_DOCKER
    return BY_DOCKER


async def is_there() -> bool:
    """Whether `docker buildx` can be run."""
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


async def run(arguments: Sequence[str], variables: Mapping[str, str], hear: Callable[[str], None]) -> int:
    """Run it to its end, and return its exit code. Cancelling this ends it, and whatever it started.

    Args:
        hear: takes its output in pieces, as they come.
    """
    process = await asyncio.create_subprocess_exec(
        *arguments,
        env=dict(variables),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # A group of its own, so that it can be ended with all that it started.
        start_new_session=True,
    )
    try:
        await _listen(process, hear)
        return await process.wait()
    finally:
        if process.returncode is None:
            await asyncio.shield(_end(process))


async def _listen(process: asyncio.subprocess.Process, hear: Callable[[str], None]) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while process.stdout and (chunk := await process.stdout.read(CHUNK)):
        hear(decoder.decode(chunk))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask it to end, which makes the engine give up the build's steps; then insist."""
    _signal(process, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), GRACE)
    except TimeoutError:
        _signal(process, signal.SIGKILL)
        await process.wait()
    _signal(process, signal.SIGKILL)  # what it started and didn't wait for


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
