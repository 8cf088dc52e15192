"""Measures memory and processor time of containers: by the kernel's files where they can be read, else by
Docker's API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import aiodocker

from stager.engines.docker.client import engine_errors, request_json
from stager.ports.engine import Consumption

CGROUPS = Path("/sys/fs/cgroup")
FOLDERS = ("docker/{id}", "system.slice/docker-{id}.scope")
"""Where Docker creates a container's cgroup with its drivers `cgroupfs` and `systemd`."""
CONCURRENT_CALLS = 8
"""Docker measures each container by itself, which takes it about a millisecond of CPU time."""


async def memory_of(docker: aiodocker.Docker, ids: Iterable[str], root: Path = CGROUPS) -> dict[str, int]:
    """The memory of these containers in bytes, without the page cache that the kernel frees first, as `docker
    stats` shows it. One that doesn't run isn't in the result. Raises `Retry`.

    Args:
        root: where cgroups are mounted.
    """
    return {
        id_: usage.memory for id_, usage in (await _measured(docker, ids, root, read_only_memory)).items()
    }


async def consumption_of(
    docker: aiodocker.Docker, ids: Iterable[str], root: Path = CGROUPS
) -> dict[str, Consumption]:
    """The memory of these containers, see `memory_of`, and their processor time. Raises `Retry`."""
    return await _measured(docker, ids, root, read_consumption)


async def _measured(
    docker: aiodocker.Docker, ids: Iterable[str], root: Path, read: Callable[[Path, str], Consumption | None]
) -> dict[str, Consumption]:
    wanted = list(ids)
    found = await asyncio.to_thread(_read_all, root, wanted, read)
    calls = asyncio.Semaphore(CONCURRENT_CALLS)

    async def ask(id_: str) -> None:
        async with calls:
            if (used := await _by_api(docker, id_)) is not None:
                found[id_] = used

    await asyncio.gather(*(ask(id_) for id_ in wanted if id_ not in found))
    return found


def _read_all(
    root: Path, ids: Iterable[str], read: Callable[[Path, str], Consumption | None]
) -> dict[str, Consumption]:
    return {id_: used for id_ in ids if (used := read(root, id_)) is not None}


def read_only_memory(root: Path, id_: str) -> Consumption | None:
    """Read a container's memory, see `read_memory`; the processor time stays 0."""
    memory = read_memory(root, id_)
    return None if memory is None else Consumption(memory)


def read_consumption(root: Path, id_: str) -> Consumption | None:
    """Read a container's memory and processor time; None if its cgroup isn't found."""
    memory, processor = read_memory(root, id_), read_processor_time(root, id_)
    return None if memory is None or processor is None else Consumption(memory, processor)


def read_processor_time(root: Path, id_: str) -> float | None:
    """Read a container's processor time in seconds from its cgroup, see `read_memory`; None if that isn't
    found."""
    for folder in FOLDERS:
        try:
            stat = (root / folder.format(id=id_) / "cpu.stat").read_text("ascii")
        except (OSError, ValueError):
            pass
        else:
            return _value(stat, "usage_usec") / 1e6
        try:
            return int((root / "cpuacct" / folder.format(id=id_) / "cpuacct.usage").read_text("ascii")) / 1e9
        except (OSError, ValueError):
            continue
    return None


def read_memory(root: Path, id_: str) -> int | None:
    """Read a container's memory from its cgroup; None if that isn't found.

    Args:
        root: where cgroups are mounted: of version 2, or of version 1 with one folder for each controller.
    """
    for folder in FOLDERS:
        for base, usage, cache in (
            (root / "memory", "memory.usage_in_bytes", "total_inactive_file"),
            (root, "memory.current", "inactive_file"),
        ):
            group = base / folder.format(id=id_)
            try:
                used = int((group / usage).read_text("ascii"))
                stat = (group / "memory.stat").read_text("ascii")
            except (OSError, ValueError):
                continue
            return max(0, used - _value(stat, cache))
    return None


def _value(stat: str, name: str) -> int:
    """A value of `memory.stat` or `cpu.stat`; 0 if it isn't there."""
    lines = (line.partition(" ") for line in stat.splitlines())
    return next((int(value) for key, _, value in lines if key == name), 0)


async def _by_api(docker: aiodocker.Docker, id_: str) -> Consumption | None:
    path, params = f"containers/{id_}/stats", {"stream": "0", "one-shot": "1"}
    with engine_errors():
        try:
            answer: Mapping[str, Any] = await request_json(docker, path, params=params)
        except aiodocker.DockerError as error:
            if error.status in {404, 409}:  # it is gone
                return None
            raise
    memory = answer.get("memory_stats") or {}
    if "usage" not in memory:
        return None
    stats = memory.get("stats") or {}
    cache = int(stats.get("total_inactive_file", stats.get("inactive_file", 0)))
    processor = (answer.get("cpu_stats") or {}).get("cpu_usage") or {}
    return Consumption(max(0, int(memory["usage"]) - cache), int(processor.get("total_usage", 0)) / 1e9)
