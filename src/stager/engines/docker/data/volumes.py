"""Creates named volumes: empty or as clones, in the pool where there is one."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Collection, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import aiodocker

from stager.domain.errors import Fault, Refused, Retry
from stager.engines.docker import labels
from stager.engines.docker.client import engine_errors
from stager.engines.docker.data.archives import full
from stager.engines.docker.data.copies import Copies, missing
from stager.engines.docker.data.names import filling_name, volume_name
from stager.engines.docker.data.pool import Pool, Usage
from stager.ports.data import VolumeKey
from stager.ports.engine import Clone

DRIVER = "local"
Labels = Mapping[str, str]


class Volumes:
    """Volumes in Docker and in the pool.

    Args:
        installation: the id of the installation, which names and labels contain.
        copies: the snapshots in the state folder; None if there are none.
        pool: None if there is no root helper that keeps one.
    """

    def __init__(
        self,
        docker: aiodocker.Docker,
        installation: str,
        copies: Copies | None = None,
        pool: Pool | None = None,
    ) -> None:
        self._docker = docker
        self._installation = installation
        self._copies = copies
        self._pool = pool
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By the name of the volume that is created."""

    def name(self, volume: VolumeKey) -> str:
        """The name of a volume in Docker."""
        return volume_name(self._installation, volume)

    async def create(self, volume: VolumeKey, own_labels: Labels, clone: Clone | None = None) -> str:
        """Create a volume, with its content; returns its name. No effect if it exists.

        Args:
            own_labels: its labels. An existing one must have them.
            clone: what it starts as; None for an empty one.

        Raises:
            Fault: `volume-foreign`: there is one that Stager didn't create; `snapshot-missing`; `data-full`.
        """
        name = self.name(volume)
        expected = {labels.INSTALLATION: self._installation, **own_labels}
        async with self._locks.setdefault(name, asyncio.Lock()):
            if clone is None or (await self._is_complete(volume) and await self.find(name)):
                await self._ensure(name, expected)
            elif self._copies and self._copies.has(clone.snapshot, clone.part):
                await self._fill(volume, expected, clone, self._copies)
            elif self._pool and await self._pool.is_ready():
                await self._ensure(name, expected, clone)
            else:
                raise missing(clone.snapshot, clone.part)
        return name

    async def find(self, name: str) -> dict[str, Any] | None:
        """Docker's answer about a volume; None if there is none."""
        return await _shown(self._docker, name)

    async def _ensure(self, name: str, expected: Labels, clone: Clone | None = None) -> None:
        """Create a volume, in the pool where there is one. The pool copies at once or not at all."""
        found = await self.find(name)
        if found is None:
            body = {"Name": name, "Driver": DRIVER, "Labels": expected}
            with engine_errors():
                await self._docker.volumes.create({**body, **await self._options(name, clone)})
            found = await self.find(name) or {}
        # Docker's create call returns an existing volume as it is. Options may name any folder of the host.
        is_ours = expected.items() <= (found.get("Labels") or {}).items()
        if not is_ours or found["Driver"] != DRIVER or not await self._is_known(name, found.get("Options")):
            raise Fault(
                f'There is a volume with the name "{name}" that Stager didn\'t create.',
                hint=f"Check it, and remove it: `docker volume rm {name}`.",
                reason="volume-foreign",
            )

    async def _options(self, name: str, clone: Clone | None) -> dict[str, Any]:
        """The driver's options for a new volume."""
        if self._pool is None or not await self._pool.is_ready():
            return {}
        path = await (self._pool.clone(name, clone) if clone else self._pool.create(name))
        return {"DriverOpts": _bind(path)}

    async def _is_known(self, name: str, options: Mapping[str, str] | None) -> bool:
        """Whether the options of a volume are none, or those of a volume of the pool."""
        if not options:
            return True
        path = options.get("device", "")
        return self._pool is not None and options == _bind(path) and await self._pool.is_path_of(name, path)

    async def _is_complete(self, volume: VolumeKey) -> bool:
        return await self.find(filling_name(self._installation, volume)) is None

    async def _fill(self, volume: VolumeKey, expected: Labels, clone: Clone, copies: Copies) -> None:
        """Create a volume from an archive. As long as it is incomplete, there is a second volume that says
        so, and the next call starts again."""
        name, filling = self.name(volume), filling_name(self._installation, volume)
        marker = {labels.INSTALLATION: self._installation, labels.FILLING: name}
        with engine_errors():
            await self._docker.volumes.create({"Name": filling, "Driver": DRIVER, "Labels": marker})
        await copies.archives.sweep(name)
        await self.remove(name)
        if await self.find(name):
            raise Retry(
                f"Docker doesn't remove the incomplete volume {name}, because a container uses it.",
                hint=f"Remove the container: `docker ps --all --filter volume={name}`.",
                reason="engine-error",
            )
        await self._check_space(name, (await copies.sizes(clone.snapshot))[clone.part])
        await self._ensure(name, expected)
        async with aclosing(copies.read(clone.snapshot, clone.part, clone.without)) as archive:
            await copies.archives.write(name, archive)
        await self.remove(filling)

    async def _check_space(self, name: str, size: int) -> None:
        """Compare the size of a clone with the space that is left.

        Raises:
            Fault: `data-full`.
        """
        if self._pool and (available := (await self._pool.status()).available) is not None:
            left = available
        else:
            with engine_errors():
                folder = Path((await self._docker.system.info())["DockerRootDir"])
            try:
                left = shutil.disk_usage(folder).free
            except OSError:  # Docker runs elsewhere, or its folder is closed to this user
                return
        if size > left:
            raise full(f"the volume {name}")

    async def remove(self, name: str) -> bool:
        """Remove a volume; returns whether it was there and no container uses it."""
        was_there = False
        with engine_errors():
            try:
                await aiodocker.volumes.DockerVolume(self._docker, name).delete()
                was_there = True
            except aiodocker.DockerError as error:
                if error.status == 409:  # a container uses it
                    return False
                if error.status != 404:
                    raise
        if self._pool and await self._pool.is_ready():
            with suppress(Refused):  # it is still mounted; `sweep` removes it later
                was_there |= await self._pool.remove_volume(name)
        return was_there

    async def sweep(self) -> int:
        """Remove incomplete volumes, and those of the pool that Docker doesn't have; returns their number."""
        in_pool = frozenset(await self._pool.volumes()) if self._pool and await self._pool.is_ready() else ()
        created = set(self._locks)  # by now, Docker has the others of the pool
        listed = await self.list_labelled(labels.INSTALLATION)
        created |= set(self._locks)
        known = {each["Name"] for each in listed}
        left = [await self._remove_incomplete(each, created) for each in listed]
        orphans = [name for name in in_pool if name not in known | created and self._pool]
        left += [await self.remove(name) for name in orphans]
        return sum(left)

    async def _remove_incomplete(self, marker: Mapping[str, Any], created: Collection[str]) -> bool:
        name = marker["Labels"].get(labels.FILLING, "")
        if not name or name in created:
            return False
        if self._copies:
            await self._copies.archives.sweep(name)
        await self.remove(name)
        return await self.remove(marker["Name"])

    async def list_labelled(self, label: str) -> list[dict[str, Any]]:
        """The volumes of this installation with a label, such as `stager.volume` or `stager.workbench=x`."""
        wanted = {"label": [f"{labels.INSTALLATION}={self._installation}", label]}
        with engine_errors():
            return list((await self._docker.volumes.list(filters=wanted))["Volumes"] or ())

    async def usage(self, names: Collection[str]) -> Mapping[str, Usage]:
        """The sizes of those of these volumes that are in the pool."""
        if not names or self._pool is None or not await self._pool.is_ready():
            return {}
        return await self._pool.usage(names)


def _bind(path: str) -> dict[str, str]:
    """The options of a volume that is a folder of the pool."""
    return {"type": "none", "o": "bind", "device": path}


async def _shown(docker: aiodocker.Docker, name: str) -> dict[str, Any] | None:
    with engine_errors():
        try:
            found: dict[str, Any] = await aiodocker.volumes.DockerVolume(docker, name).show()
        except aiodocker.DockerError as error:
            if error.status != 404:
                raise
            return None
    return found
