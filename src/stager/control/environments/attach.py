"""What goes on inside running instances: what they print, as it comes, and terminals in them. `web` calls
this."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from stager.control.environments.lookup import existing
from stager.domain.environment import Environment, Instance, InstanceState
from stager.domain.errors import Refused
from stager.ports.engine import Instances, Size, Terminal
from stager.ports.store import Store

PAUSE = 1.0
"""Seconds between two looks for the next instance, after one has ended."""
ALL = 5_000
"""Lines of the next instance's output: it begins anew."""
SHELL = ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh")
"""What people want who don't say."""


class Inside:
    """Looks into instances."""

    def __init__(self, store: Store, instances: Instances) -> None:
        self._store = store
        self._instances = instances

    async def newest(self, environment_id: str) -> Instance | None:
        """The newest instance that was ever started; None where there is none.

        Raises:
            Retry: the engine doesn't answer.
        """
        return newest_of(await self._instances.find(environment_id))

    async def follow(self, environment_id: str, lines: int) -> AsyncIterator[str]:
        """The last lines of the newest instance's output, and what it prints from then on, piece by piece;
        then the next one's, and so on for as long as the environment is wanted.

        Raises:
            Retry: the engine doesn't answer.
        """
        known: set[str] = set()
        while True:
            environment = await self._environment(environment_id)
            newest = await self.newest(environment.id)
            if newest is not None and newest.run not in known:
                again = any(run.startswith(f"{newest.id}@") for run in known)
                known.add(newest.run)
                # One that was started again has what it printed before in the same log.
                async for piece in self._instances.follow(newest.id, 0 if again else lines):
                    yield piece
                lines = ALL
            elif not environment.desired.should_run:
                return
            else:
                await asyncio.sleep(PAUSE)

    async def open(self, environment: Environment, command: Sequence[str], size: Size, kind: str) -> Terminal:
        """A terminal in what serves this environment, or comes up for it.

        Args:
            command: what runs there; empty: a shell.
            kind: of terminal, as in TERM.

        Raises:
            Refused: 409, when nothing runs.
            Retry: the engine doesn't answer.
        """
        running = [
            instance
            for instance in await self._instances.find(environment.id)
            if instance.state is InstanceState.RUNNING
        ]
        serving = [instance for instance in running if instance.generation == environment.serving]
        chosen = newest_of(serving or running)
        if chosen is None:
            raise Refused(
                "Nothing runs there now.",
                hint="Launch it, or look at its log.",
                reason="nothing-runs",
                status=409,
            )
        return await self._instances.open(chosen.id, command or SHELL, size, kind)

    async def _environment(self, environment_id: str) -> Environment:
        return await self._store.read(lambda tx: existing(tx, environment_id))


def newest_of(instances: Sequence[Instance]) -> Instance | None:
    """The newest that was ever started; None where there is none."""
    started = [instance for instance in instances if instance.started_at]
    return max(started, key=lambda instance: (instance.generation, instance.started_at), default=None)
