"""Access to running instances: their output as a stream, and terminals."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import replace

from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.lookup import existing
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, Instance, InstanceState
from stager.domain.errors import Refused
from stager.domain.names import did_you_mean
from stager.domain.service import MAIN_SERVICE
from stager.ports.engine import Instances, LogPiece, Size, Terminal
from stager.ports.store import Store

NEXT_INSTANCE_LINES = 5_000
"""Lines of the output of an instance that starts while its environment is followed: all of it."""
SEPARATOR = "~"
"""Between the instance and its own position, in a position."""
SHELL = ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh")
"""The default command of a terminal."""


class Attach:
    """Attaches to instances."""

    def __init__(self, store: Store, instances: Instances, change_feed: ChangeFeed) -> None:
        self._store = store
        self._instances = instances
        self._change_feed = change_feed

    async def newest(self, environment_id: str, service: str = "", generation: int = 0) -> Instance | None:
        """The newest instance of a service that was started; None if there is none.

        Args:
            service: empty for the main one.
            generation: only an instance that serves this one; 0 for any.

        Raises:
            Refused: 404, there is no such service.
            Retry: the engine doesn't answer.
        """
        return newest_of(await self._instances_of(environment_id, service, generation))

    async def _instances_of(self, environment_id: str, service: str, generation: int) -> list[Instance]:
        name = await self._store.read(lambda tx: service_name(tx.deployments(environment_id), service))
        return [
            instance
            for instance in await self._instances.find(environment_id)
            if instance.service == name
            and (not generation or generation in {instance.generation, *instance.generations})
        ]

    async def follow(
        self, environment_id: str, lines: int, service: str = "", *, generation: int = 0, after: str = ""
    ) -> AsyncGenerator[LogPiece]:
        """Stream the output of a service's newest instance, then the output of each instance that follows it,
        until the environment should no longer run.

        Args:
            lines: how many lines of earlier output come first.
            service: empty for the main one.
            generation: only instances that serve this one, and the stream ends with them; 0 for any.
            after: the position of an earlier piece: no line after it is left out or repeated. If it isn't
                stored any more, a piece that is a gap comes first.

        Raises:
            Refused: 404, there is no such service.
            Retry: the engine doesn't answer.
        """
        following = _Following(self._instances, lines)
        with self._change_feed.with_instances(environment_id) as changed:
            if after:
                found = await self._instances_of(environment_id, service, generation)
                async for piece in following.resumed(found, after):
                    yield piece
            while True:
                changed.clear()
                environment = await self._environment(environment_id)
                newest = await self.newest(environment_id, service, generation)
                if newest is not None and following.is_new(newest):
                    async for piece in following.of(newest):
                        yield piece
                elif _is_over(environment, generation):
                    return
                else:
                    await changed.wait()

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


class _Following:
    """The output of one instance after the other. A position names the instance and the position in its
    output."""

    def __init__(self, instances: Instances, lines: int) -> None:
        self._instances = instances
        self._lines = lines
        self._runs: set[str] = set()
        self._instance = self._position = ""
        """Of the last piece."""

    def is_new(self, instance: Instance) -> bool:
        """Whether this run of the instance wasn't followed yet."""
        return instance.run not in self._runs

    async def resumed(self, found: Iterable[Instance], after: str) -> AsyncGenerator[LogPiece]:
        """Go on after a position, if its instance is among these; else there is a gap."""
        identity, _, position = after.partition(SEPARATOR)
        instance = next((each for each in found if each.id == identity), None)
        if instance is None or not position:
            self._lines = NEXT_INSTANCE_LINES
            yield LogPiece("", is_gap=True)
            return
        self._instance, self._position = identity, position
        async for piece in self.of(instance):
            yield piece

    async def of(self, instance: Instance) -> AsyncGenerator[LogPiece]:
        """Follow an instance. The log of a restarted one also has the output of its earlier runs, after which
        it goes on."""
        self._runs.add(instance.run)
        after = self._position if instance.id == self._instance else ""
        async for piece in self._instances.follow(instance.id, self._lines, after):
            if piece.position:
                self._instance, self._position = instance.id, piece.position
            position = f"{instance.id}{SEPARATOR}{piece.position}" if piece.position else ""
            yield replace(piece, position=position)
        self._lines = NEXT_INSTANCE_LINES


def _is_over(environment: Environment, generation: int) -> bool:
    """Whether no further instance follows."""
    desired = environment.desired
    return not desired.keeps_instances or generation not in {0, desired.generation}


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
