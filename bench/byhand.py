"""Manual launches, the floor of every launch: the container that Stager would create, on a network of its
own, by the same calls of the engine's API, and nothing else."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from time import perf_counter
from types import TracebackType
from typing import Any, Literal, Self

import aiodocker
import aiohttp

from bench.cgroups import swap_out
from bench.testbed import PORT
from stager.domain.application import Container
from stager.domain.environment import InstanceLabels
from stager.domain.profile import Egress, Limits, ProfileName, profile_of
from stager.domain.source import Revision, Trust
from stager.engines.docker import labels
from stager.engines.docker.create_parameters import Storage, create_body
from stager.engines.docker.labels import INSTALLATION
from stager.engines.docker.network.pool import Lease
from stager.ports.engine import InstanceSpec

POOL = IPv4Network("10.199.0.0/16")
"""Beside the pool that Stager's own networks come from."""
Depth = Literal["paused", "swapped", "stopped"]
"""How deeply a container sleeps: `swapped` is paused, with its memory moved to swap."""
LOOK_EVERY = 0.005
"""Seconds between two questions whether the container answers: often, for others are held against it."""
LIMITS = Limits(memory=512 << 20, cpus=1.0, pids=256, log_size=10 << 20)
"""Stager's own defaults."""


@dataclass
class ByHand:
    """Launches containers, and removes them at the end."""

    installation: str = field(default_factory=lambda: f"test-hand-{secrets.token_hex(3)}")
    _made: list[tuple[str, str]] = field(default_factory=list)
    _count: int = 0

    async def __aenter__(self) -> Self:
        self._docker = aiodocker.Docker()
        self._web = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0))
        self._subnets = POOL.subnets(new_prefix=28)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.remove()
        await self._web.close()
        await self._docker.close()

    async def launch(self, image: str) -> float:
        """Seconds from the first call to the first 200 of a container of this image."""
        begun = perf_counter()
        await self.serve(image)
        return perf_counter() - begun

    async def serve(self, image: str, command: Sequence[str] | None = None) -> str:
        """Start a container of this image, and wait for its first 200; returns its URL."""
        url = f"http://{await self.start(self.spec(image, command))}:{PORT}/"
        await self._answers(url)
        return url

    async def start(self, spec: InstanceSpec, mounts: Sequence[Mapping[str, Any]] = ()) -> str:
        """Create and start a container on a network of its own; returns its address.

        Args:
            mounts: as Docker's create call has them.
        """
        lease = await self._network()
        self._count += 1
        body = create_body(
            spec, {INSTALLATION: self.installation}, lease, publish=False, storage=Storage(mounts)
        )
        container = await self._docker.containers.create(body, name=f"{self.installation}-{self._count}")
        self._made.append((container.id, lease.network))
        await container.start()
        return lease.address

    @property
    def count(self) -> int:
        """The number of running containers."""
        return len(self._made)

    async def sleep(self, deeply: Depth) -> None:
        """Put the newest container to sleep."""
        container = self._docker.containers.container(self._made[-1][0])
        if deeply == "stopped":
            await container.stop()
            return
        await container.pause()
        if deeply == "swapped":
            swap_out(container.id)

    async def wake(self, deeply: Depth, url: str) -> float:
        """Seconds from the call that wakes the newest container to its first 200."""
        begun = perf_counter()
        container = self._docker.containers.container(self._made[-1][0])
        await (container.start() if deeply == "stopped" else container.unpause())
        await self._answers(url)
        return perf_counter() - begun

    async def remove(self, keep: int = 0) -> None:
        """Remove the launched containers, except the newest `keep`."""
        number = len(self._made) - keep
        if number <= 0:
            return
        made, self._made = self._made[:number], self._made[number:]
        await asyncio.gather(
            *(self._docker.containers.container(c).delete(v=True, force=True) for c, _ in made)
        )
        for _, network in made:
            await (await self._docker.networks.get(network)).delete()

    async def _network(self) -> Lease:
        subnet = next(self._subnets)
        name = f"{self.installation}-{subnet.network_address}"
        await self._docker.networks.create(
            {
                "Name": name,
                "CheckDuplicate": True,
                "Driver": "bridge",
                "IPAM": {"Config": [{"Subnet": str(subnet), "Gateway": str(subnet[1])}]},
                "Labels": {labels.INSTALLATION: self.installation},
            }
        )
        return Lease(name, str(subnet[2]))

    async def _answers(self, url: str) -> None:
        while True:
            try:
                async with self._web.get(url) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            await asyncio.sleep(LOOK_EVERY)

    def spec(self, image: str, command: Sequence[str] | None = None) -> InstanceSpec:
        """The next container of this image, as Stager describes it."""
        number = self._count + 1
        labels = InstanceLabels(
            environment=f"hand-{number}",
            service="web",
            deployment=f"hand-{number}",
            generation=1,
            app="shop",
            subject=f"name:hand-{number}",
            name=f"hand-{number}",
            host=f"hand-{number}.localhost",
            revision=Revision(),
            trust=Trust.TRUSTED,
            profile=ProfileName.STANDARD,
            change=None,
            parameters={},
        )
        profile = profile_of(labels.profile, LIMITS, Egress())
        container = Container(tuple(command) if command else None, PORT)
        return InstanceSpec(labels, image, container, profile, {"container_name": labels.name})
