"""The named volumes of environments, which outlive their containers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiodocker
import structlog

from stager.domain.leftovers import Leftover, LeftoverKind
from stager.domain.service import Mount
from stager.engines.docker import labels
from stager.engines.docker.client import request_json
from stager.engines.docker.data.volumes import Volumes
from stager.ports.data import VolumeKey
from stager.ports.engine import InstanceSpec, Volume, check_volume_names

log = structlog.get_logger(__name__)

Epochs = Mapping[str, Collection[int]]


class Owners(NamedTuple):
    """What the instances that exist may use, each with the id of its environment.

    Args:
        epochs: see `InstanceSpec.volume_epoch`.
    """

    generations: frozenset[tuple[str, int]]
    epochs: frozenset[tuple[str, int]]


class NamedVolumes:
    """Creates named volumes, and removes those that aren't needed any more.

    Args:
        installation: the id of the installation.
        volumes: creates them.
    """

    def __init__(self, docker: aiodocker.Docker, installation: str, volumes: Volumes) -> None:
        self._docker = docker
        self._installation = installation
        self._volumes = volumes
        self._reserved: Counter[str] = Counter()
        self._lock = asyncio.Lock()
        self._computing = asyncio.Lock()

    @asynccontextmanager
    async def reserved(self, spec: InstanceSpec) -> AsyncIterator[list[dict[str, Any]]]:
        """Create the volumes of an instance, and protect them from garbage collection within the context.
        Yields the mounts for the create call.

        Raises:
            Fault: `volume-invalid`, `volume-foreign`: a volume has an impossible name, or exists already and
                isn't this environment's; see `Volumes.create`.
        """
        check_volume_names(spec)
        names = Counter(self._name(spec, mount) for mount in spec.container.mounts if mount.volume)
        async with self._lock:
            self._reserved += names
        try:
            for mount in {mount.volume: mount for mount in spec.container.mounts if mount.volume}.values():
                await self._create(spec, mount)
            yield [self._mount(spec, mount) for mount in spec.container.mounts if _is_volume(spec, mount)]
        finally:
            self._reserved -= names

    def _mount(self, spec: InstanceSpec, mount: Mount) -> dict[str, Any]:
        """A mount for the create call. It is always a volume, never a path of the host."""
        created: dict[str, Any] = {"Type": "volume", "Target": mount.target}
        if mount.volume:
            created |= {"Source": self._name(spec, mount), "ReadOnly": mount.is_read_only}
        if mount.content:
            created["VolumeOptions"] = {"NoCopy": True}  # it replaces what the image has there
        return created

    def _name(self, spec: InstanceSpec, mount: Mount) -> str:
        return self._volumes.name(_key(spec, mount))

    async def _create(self, spec: InstanceSpec, mount: Mount) -> None:
        expected = {
            labels.ENVIRONMENT: spec.labels.environment,
            labels.GENERATION: str(spec.number_of(mount.volume)),
            labels.VOLUME: mount.volume,
        }
        if spec.volume_epoch and mount.volume not in spec.fresh_volumes:
            expected[labels.VOLUME_EPOCH] = str(spec.volume_epoch)
        await self._volumes.create(_key(spec, mount), expected, spec.clones.get(mount.volume))

    async def used(self) -> dict[str, int]:
        """The bytes that the volumes of each environment use together, by its id. Blocks that a volume shares
        with a snapshot or with other clones don't count."""
        ours = await self._volumes.list_labelled(labels.VOLUME)
        sizes = await self._sizes() if ours else {}
        in_pool = await self._volumes.usage([each["Name"] for each in ours])
        sizes |= {name: usage.unshared for name, usage in in_pool.items()}
        total: Counter[str] = Counter()
        for each in ours:
            total[each["Labels"][labels.ENVIRONMENT]] += sizes.get(each["Name"]) or 0
        return dict(total)

    async def sizes(self, environment: str) -> list[Volume]:
        """See `ports.engine.Instances.volumes`."""
        listed = await self._volumes.list_labelled(f"{labels.ENVIRONMENT}={environment}")
        ours = [each for each in listed if labels.VOLUME in each["Labels"]]
        sizes = await self._sizes() if ours else {}
        sizes |= await self._in_pool([each["Name"] for each in ours])
        found = [
            Volume(
                each["Labels"][labels.VOLUME], int(each["Labels"][labels.GENERATION]), sizes.get(each["Name"])
            )
            for each in ours
        ]
        return sorted(found, key=lambda volume: (volume.name, volume.generation))

    async def _sizes(self) -> dict[str, int | None]:
        """The sizes of all volumes. Docker computes them, and those of everything else, for one caller at a
        time, and rejects the others."""
        async with self._computing:
            try:
                shown = await request_json(self._docker, "system/df")
            except (aiodocker.DockerError, TimeoutError) as error:
                log.warning("volume_sizes_unknown", error=str(error))
                return {}
        usages = {each["Name"]: each.get("UsageData") or {} for each in shown["Volumes"] or ()}
        return {
            name: usage.get("Size") if usage.get("Size", -1) >= 0 else None for name, usage in usages.items()
        }

    async def sweep(self, owners: Callable[[], Awaitable[Owners]], present: Epochs | None) -> int:
        """Remove the volumes of environments and generations without instances; returns their number.

        Args:
            owners: returns what instances may use.
            present: see `ports.engine.Instances.sweep`.
        """
        async with self._lock:
            return sum(
                [await self._volumes.remove(each["Name"]) for each in await self._unused(owners, present)]
            )

    async def leftovers(
        self, owners: Callable[[], Awaitable[Owners]], present: Epochs | None
    ) -> list[Leftover]:
        """What `sweep` would remove."""
        async with self._lock:
            unused = await self._unused(owners, present)
        names = [each["Name"] for each in unused]
        sizes = {**await self._sizes(), **await self._in_pool(names)} if names else {}
        return [_leftover(each, sizes.get(each["Name"]), present) for each in unused]

    async def _unused(
        self, owners: Callable[[], Awaitable[Owners]], present: Epochs | None
    ) -> list[Mapping[str, Any]]:
        # In this order: an instance that is created meanwhile is in at least one of the sets.
        reserved = set(self._reserved)
        owned = await owners()
        return [
            each
            for each in await self._volumes.list_labelled(labels.VOLUME)
            if each["Name"] not in reserved and not _is_needed(each["Labels"], owned, present)
        ]

    async def _in_pool(self, names: Sequence[str]) -> dict[str, int | None]:
        """The sizes of those volumes that are in the data pool."""
        return {name: usage.size for name, usage in (await self._volumes.usage(names)).items()}


def _key(spec: InstanceSpec, mount: Mount) -> VolumeKey:
    return VolumeKey(spec.labels.environment, mount.volume, spec.number_of(mount.volume))


def _is_volume(spec: InstanceSpec, mount: Mount) -> bool:
    """Whether it is mounted. A file of the commit is copied into the file system."""
    folders = {content.target for content in spec.content if content.is_folder}
    return not mount.content or mount.target in folders


def _leftover(volume: Mapping[str, Any], size: int | None, present: Epochs | None) -> Leftover:
    marks = volume["Labels"]
    environment, number = marks[labels.ENVIRONMENT], int(marks[labels.GENERATION])
    what = f'volume "{marks[labels.VOLUME]}"'
    if number and labels.VOLUME_EPOCH not in marks:
        why = f"{what} of deployment {number}, which has no container"
    elif present is not None and environment in present:
        why = f"{what} from before the data was reset"
    else:
        why = f"{what} of a preview that was removed, killed or expired"
    return Leftover(LeftoverKind.VOLUME, volume["Name"], why, environment, size)


def _is_needed(volume: Mapping[str, str], owned: Owners, present: Epochs | None) -> bool:
    environment, number = volume[labels.ENVIRONMENT], int(volume[labels.GENERATION])
    if number and labels.VOLUME_EPOCH not in volume:
        return (environment, number) in owned.generations
    if present is None:
        return True
    return number in present[environment] if environment in present else (environment, number) in owned.epochs
