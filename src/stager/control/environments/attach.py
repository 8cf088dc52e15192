"""Access to running instances: their output as a stream, and terminals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from stager.control.environments.lookup import existing
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, Instance, InstanceState
from stager.domain.errors import Refused
from stager.domain.names import did_you_mean
from stager.domain.service import MAIN_SERVICE
from stager.ports.engine import Instances, Size, Terminal
from stager.ports.store import Store

PAUSE = 1.0
"""Seconds between two checks for the next instance, after one has ended."""
NEXT_INSTANCE_LINES = 5_000
"""Lines of the output of an instance that starts while its environment is followed: all of it."""
SHELL = ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh")
"""The default command of a terminal."""


class Attach:
    """Attaches to instances."""

    def __init__(self, store: Store, instances: Instances) -> None:
        self._store = store
        self._instances = instances

    async def newest(self, environment_id: str, service: str = "") -> Instance | None:
        """The newest instance of a service that was started; None if there is none.

        Args:
            service: empty for the main one.

        Raises:
            Refused: 404, there is no such service.
            Retry: the engine doesn't answer.
        """
        name = await self._store.read(lambda tx: service_name(tx.deployments(environment_id), service))
        found = await self._instances.find(environment_id)
        return newest_of([instance for instance in found if instance.service == name])

    async def follow(self, environment_id: str, lines: int, service: str = "") -> AsyncIterator[str]:
        """Stream the output of a service's newest instance, then the output of each instance that follows it,
        until the environment should no longer run.

        Args:
            lines: how many lines of earlier output come first.
            service: empty for the main one.

        Raises:
            Refused: 404, there is no such service.
            Retry: the engine doesn't answer.
        """
        known: set[str] = set()
        while True:
            environment = await self._environment(environment_id)
            newest = await self.newest(environment.id, service)
            if newest is not None and newest.run not in known:
                again = any(map(newest.has_run, known))
                known.add(newest.run)
                # The log of a restarted instance also has the output of its earlier runs.
                async for piece in self._instances.follow(newest.id, 0 if again else lines):
                    yield piece
                lines = NEXT_INSTANCE_LINES
            elif not environment.desired.keeps_instances:
                return
            else:
                await asyncio.sleep(PAUSE)

    async def open(
        self, environment: Environment, command: Sequence[str], size: Size, kind: str, service: str = ""
    ) -> Terminal:
        """Open a terminal in the instance of a service that serves this environment; if none does, in the
        newest one.

        Args:
            command: empty: a shell.
            kind: the type of terminal, as in TERM.
            service: empty for the main one.

        Raises:
            Refused: 404, there is no such service; 409, no instance runs.
            Retry: the engine doesn't answer.
        """
        name = await self._store.read(lambda tx: service_name(tx.deployments(environment.id), service))
        running = [
            instance
            for instance in await self._instances.find(environment.id)
            if instance.state is InstanceState.RUNNING and instance.service == name
        ]
        serving = [i for i in running if environment.serving in {i.generation, *i.generations}]
        chosen = newest_of(serving or running)
        if chosen is None:
            raise Refused(
                "No instance of this preview is running.",
                hint=f"{'Wake' if environment.desired.is_asleep else 'Launch'} it, or read its log.",
                reason="nothing-runs",
                status=409,
            )
        return await self._instances.open(chosen.id, command or SHELL, size, kind)

    async def _environment(self, environment_id: str) -> Environment:
        return await self._store.read(lambda tx: existing(tx, environment_id))


def service_name(deployments: Iterable[Deployment], service: str) -> str:
    """The name of a service of an environment.

    Args:
        deployments: of the environment, newest first.
        service: empty for the main one.

    Raises:
        Refused: `service-unknown`: there is none of this name.
    """
    deployed = next((d.services for d in deployments if d.services), ())
    main = next((each.name for each in deployed if each.is_main), MAIN_SERVICE)
    names = {each.name for each in deployed} or {main}
    if service and service not in names:
        raise Refused(
            f'This preview has no service "{service}".',
            hint=did_you_mean(service, names) or f"It has {', '.join(sorted(names))}.",
            reason="service-unknown",
            status=404,
        )
    return service or main


def newest_of(instances: Sequence[Instance]) -> Instance | None:
    """The newest one that was started; None if there is none."""
    started = [instance for instance in instances if instance.started_at]
    return max(started, key=lambda instance: (instance.generation, instance.started_at), default=None)
