"""Measures the memory of containers: by the kernel's files where they can be read, else by Docker's API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import aiodocker

from stager.engines.docker.client import engine_errors, request_json

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
    wanted = list(ids)
    found = await asyncio.to_thread(_read_all, root, wanted)
    calls = asyncio.Semaphore(CONCURRENT_CALLS)

    async def ask(id_: str) -> None:
        async with calls:
            if (used := await _by_api(docker, id_)) is not None:
                found[id_] = used

    await asyncio.gather(*(ask(id_) for id_ in wanted if id_ not in found))
    return found


def _read_all(root: Path, ids: Iterable[str]) -> dict[str, int]:
    return {id_: used for id_ in ids if (used := read_memory(root, id_)) is not None}


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
    """A value of `memory.stat`; 0 if it isn't there."""
    lines = (line.partition(" ") for line in stat.splitlines())
    return next((int(value) for key, _, value in lines if key == name), 0)


async def _by_api(docker: aiodocker.Docker, id_: str) -> int | None:
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
    return max(0, int(memory["usage"]) - int(stats.get("total_inactive_file", stats.get("inactive_file", 0))))
