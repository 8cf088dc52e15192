"""What the engine of an instance's node does with its container: logs, commands, checks, measurements."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

import aiodocker

from stager.domain.errors import Retry
from stager.engines.docker import labels, output
from stager.engines.docker.client import engine_errors, list_containers
from stager.engines.docker.containers import memory_exceeded
from stager.engines.docker.exec_in_container import check, run_inside
from stager.engines.docker.memory_usage import consumption_of
from stager.engines.docker.network.listening_ports import listeners_of
from stager.engines.docker.post_mortem import post_mortem
from stager.engines.docker.terminal import open_terminal
from stager.engines.swarm import marks
from stager.engines.swarm.observation import Observed
from stager.engines.swarm.overview import Overview
from stager.ports.engine import Checked, Consumption, Listener, Ran, Size, Terminal

CACHE_SIZE = 1_024
"""Maximum number of ended containers of which it is remembered whether they exceeded their memory."""


class Inside:
    """Containers on their nodes.

    Args:
        overview: where they are.
        installation: the id of the installation.
    """

    def __init__(self, overview: Overview, installation: str) -> None:
        self._overview = overview
        self._installation = installation
        self._exceeded: dict[str, int] = {}

    async def logs(self, instance: str, lines: int) -> str:
        """See `ports.engine.Instances.logs`."""
        found = await self._overview.where(instance)
        return await output.last_lines(*found, lines) if found else ""

    async def post_mortem(self, instance: str, words: str) -> str:
        """See `ports.engine.Instances.post_mortem`."""
        found = await self._overview.where(instance)
        return await post_mortem(*found, words) if found else ""

    async def follow(self, instance: str, lines: int) -> AsyncIterator[str]:
        """See `ports.engine.Instances.follow`."""
        found = await self._overview.where(instance)
        if found is None:
            return
        async for piece in output.follow(*found, lines):
            yield piece

    async def check(self, instance: str) -> Checked | None:
        """See `ports.engine.Instances.check`."""
        found = await self._overview.where(instance)
        if found is None:
            return Checked(healthy=False)
        return await check(*found)

    async def listeners(self, instance: str) -> tuple[Listener, ...] | None:
        """See `ports.engine.Instances.listeners`."""
        found = await self._overview.where(instance)
        return await listeners_of(*found) if found else None

    async def run(self, instance: str, command: Sequence[str], timeout: float) -> Ran:
        """See `ports.engine.Instances.run`."""
        return await run_inside(*await self._running(instance), command, timeout)

    async def open(self, instance: str, command: Sequence[str], size: Size, kind: str) -> Terminal:
        """See `ports.engine.Instances.open`."""
        return await open_terminal(*await self._running(instance), command, size, kind)

    async def _running(self, instance: str) -> tuple[aiodocker.Docker, str]:
        found = await self._overview.where(instance)
        if found is None:
            raise Retry("The container isn't running any more.", reason="instance-gone")
        return found

    async def exceeded(self, ended: Observed) -> int:
        """See `Instance.memory_exceeded`; 0 if the node can't be reached."""
        if not ended.container:
            return 0
        if ended.container not in self._exceeded:
            found = await self._overview.on_nodes(_limit_exceeded(ended.container), [ended.node_id])
            if ended.node_id not in found:
                return 0
            if len(self._exceeded) >= CACHE_SIZE:
                self._exceeded.clear()
            self._exceeded[ended.container] = found[ended.node_id]
        return self._exceeded[ended.container]

    async def consumption(self) -> dict[str, Consumption]:
        """See `ports.engine.Instances.consumption`."""
        found = await self._overview.all()
        here: defaultdict[str, list[str]] = defaultdict(list)
        for each in found:
            if each.is_running and not each.is_gone:
                here[each.node_id].append(each.container)

        async def measure(docker: aiodocker.Docker, node: str) -> dict[str, Consumption]:
            return await consumption_of(docker, here[node])

        measured = await self._overview.on_nodes(measure, list(here))
        by_container = {key: used for answer in measured.values() for key, used in answer.items()}
        total: dict[str, Consumption] = {}
        for each in found:
            environment = each.marks[labels.ENVIRONMENT]
            used = by_container.get(each.container, Consumption())
            total[environment] = total.get(environment, Consumption()) + used
        return total

    async def written(self) -> dict[str, int]:
        """The bytes that the containers of each environment have written, by the environment's id."""

        async def measure(docker: aiodocker.Docker, _: str) -> list[dict[str, Any]]:
            return await list_containers(docker, labels.filters(self._installation), with_sizes=True)

        total: defaultdict[str, int] = defaultdict(int)
        for rows in (await self._overview.on_nodes(measure)).values():
            for row in rows:
                total[row["Labels"].get(labels.ENVIRONMENT, "")] += row.get("SizeRw") or 0
        return dict(total)

    async def strays(self) -> list[tuple[str, str, str]]:
        """The containers whose service was removed, such as those of a node that was lost and returned: the
        node, the container and its name."""

        async def ask(docker: aiodocker.Docker, _: str) -> list[dict[str, Any]]:
            return await list_containers(docker, labels.filters(self._installation))

        # In this order: a container that is created meanwhile isn't in the first answer.
        found = await self._overview.on_nodes(ask)
        services = {each.id for each in await self._overview.all()}
        return [
            (node, row["Id"], row["Names"][0].lstrip("/"))
            for node, rows in found.items()
            for row in rows
            if row["Labels"].get(marks.SERVICE_ID, "") not in {"", *services}
        ]


def _limit_exceeded(container: str) -> Callable[[aiodocker.Docker, str], Coroutine[None, None, int]]:
    async def ask(docker: aiodocker.Docker, _: str) -> int:
        with engine_errors():
            try:
                return memory_exceeded(await docker.containers.container(container).show())
            except aiodocker.DockerError as error:
                if error.status != 404:
                    raise
                return 0

    return ask


async def gather_dicts(*totals: Coroutine[None, None, Mapping[str, int]]) -> dict[str, int]:
    """The sums of several measurements by the environment's id."""
    sums: defaultdict[str, int] = defaultdict(int)
    for total in await asyncio.gather(*totals):
        for environment, used in total.items():
            sums[environment] += used
    return dict(sums)
