"""The loop that takes pictures of previews, one after another."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from stager.control.ports import Ports
from stager.domain.environment import Environment, Instance, InstanceState
from stager.domain.errors import Fault, Retry
from stager.domain.source import Trust
from stager.ports.pictures import Album, Picture, PicturePorts, Shot
from stager.ports.store import Transaction

log = structlog.get_logger(__name__)

FREE_MEMORY = 1 << 30
"""Bytes that are available before a browser starts: its limit, and as much for previews."""
COALESCE_SECONDS = 1.0
"""How long changes are collected before the loop looks again."""
ATTEMPTS = 3
"""How often pictures of one deployment are tried."""


@dataclass(frozen=True, slots=True)
class _Sitting:
    """A deployment that visitors see and that has no pictures yet.

    Args:
        instance: that of its main service, which runs.
    """

    environment: Environment
    deployment: str
    instance: Instance


class Rounds:
    """Takes pictures of what has been published. An untrusted page gets none: its browser would run beside
    the previews' other containers without the stronger isolation of its own.

    Args:
        publish: called with the id of an environment whose pictures are new. It must not block or raise.
    """

    def __init__(
        self, ports: Ports, pictures: PicturePorts, publish: Callable[[str], None] = lambda _: None
    ) -> None:
        self._store, self._instances = ports.store, ports.instances
        self._machine, self._clock = ports.machine, ports.clock
        self._pictures, self._publish = pictures, publish
        self._done: dict[str, int] = {}
        self._soon: asyncio.TimerHandle | None = None
        self._attempts: dict[str, int] = {}
        self.wake = asyncio.Event()

    def changed(self, _: str) -> None:
        """Look again soon: an environment has changed."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(COALESCE_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._soon = None
        self.wake.set()

    async def run(self) -> None:
        """Take the pictures that are missing, and remove those of environments that are removed.

        Raises:
            Retry: the engine doesn't answer.
        """
        present = {each.id: each for each in await self._store.read(_present)}
        self._done = {key: value for key, value in self._done.items() if key in present}
        await self._pictures.albums.keep(present)
        for environment in present.values():
            if (deployment := await self._missing(environment)) and not await self._is_short_of_memory():
                await self._visit(environment, deployment)

    async def _missing(self, environment: Environment) -> str:
        """The deployment that visitors see, if it has no pictures; else empty."""
        serving = environment.serving
        if serving is None or self._done.get(environment.id) == serving:
            return ""
        if not environment.desired.should_run:
            return ""
        found = await self._store.read(lambda tx: tx.deployment_of(environment.id, serving))
        if found is None:
            return ""
        album = await self._pictures.albums.load(environment.id)
        if album is not None and album.deployment == found.id:
            self._done[environment.id] = serving
            return ""
        return found.id

    async def _is_short_of_memory(self) -> bool:
        available = (await self._machine.state()).available_memory
        return available is not None and available < FREE_MEMORY

    async def _visit(self, environment: Environment, deployment: str) -> None:
        if environment.desired.trust is not Trust.TRUSTED:
            why = "Code from a fork isn't opened in a browser."
            return await self._save_none(environment, deployment, Fault(why, reason="pictures-untrusted"))
        sitting = await self._sitting(environment, deployment)
        if sitting is None:  # it is being stopped or replaced
            return None
        try:
            await self._take(sitting)
        except Fault as fault:
            await self._save_none(environment, deployment, fault)
        except Retry as retry:
            await self._count_failure(sitting, retry)
        except (OSError, ValueError, SyntaxError) as error:  # Pillow raises all of them
            what = f"The pictures can't be read or stored ({type(error).__name__})."
            unusable = Retry(what, reason="pictures-unusable")
            await self._count_failure(sitting, unusable)

    async def _count_failure(self, sitting: _Sitting, retry: Retry) -> None:
        count = self._attempts[sitting.deployment] = self._attempts.get(sitting.deployment, 0) + 1
        log.info("pictures_failed", environment=sitting.environment.id, error=str(retry), attempt=count)
        if count >= ATTEMPTS:
            await self._save_none(
                sitting.environment, sitting.deployment, Fault(str(retry), reason=retry.reason)
            )

    async def _sitting(self, environment: Environment, deployment: str) -> _Sitting | None:
        found = await self._store.read(lambda tx: tx.deployment(deployment))
        for instance in await self._instances.find(environment.id):
            is_up = instance.state is InstanceState.RUNNING and environment.serving is not None
            of_it = instance.deployment == deployment or environment.serving in instance.generations
            if is_up and of_it and found is not None and found.is_main(instance.service):
                return _Sitting(environment, deployment, instance)
        return None

    async def _take(self, sitting: _Sitting) -> None:
        environment = sitting.environment
        shots = await self._pictures.photographer.take(
            sitting.instance.id, environment.host, self._pictures.views
        )
        base = await self._store.read(lambda tx: _base_of(tx, environment))
        pictures = tuple([await self._compared(shot, base) for shot in shots])
        compared = base.name if base and any(each.changed is not None for each in pictures) else ""
        album = Album(sitting.deployment, self._clock.now(), pictures, compared_with=compared)
        await self._save(environment, album, [shot.png for shot in shots if shot.png])
        log.info("pictures_taken", environment=environment.id, count=sum(1 for shot in shots if shot.png))

    async def _compared(self, shot: Shot, base: Environment | None) -> Picture:
        key = hashlib.sha256(shot.png).hexdigest() if shot.png else ""
        before = await self._before(shot, base) if base and key else None
        changed = await self._pictures.photographer.compare(before, shot.png) if before else None
        return Picture(shot.view, key, shot.status, shot.problems, shot.failed, changed)

    async def _before(self, shot: Shot, base: Environment) -> bytes | None:
        album = await self._pictures.albums.load(base.id)
        found = (each for each in album.pictures if each.view == shot.view and each.key) if album else ()
        picture = next(iter(found), None)
        return await self._pictures.albums.picture(base.id, picture.key) if picture else None

    async def _save_none(self, environment: Environment, deployment: str, why: Fault) -> None:
        log.info("pictures_failed", environment=environment.id, error=str(why), reason=why.reason)
        album = Album(deployment, self._clock.now(), (), why.reason, str(why), why.hint)
        await self._save(environment, album, [])

    async def _save(self, environment: Environment, album: Album, pictures: Sequence[bytes]) -> None:
        await self._pictures.albums.save(environment.id, album, pictures)
        self._attempts.pop(album.deployment, None)
        self._publish(environment.id)


def _present(tx: Transaction) -> list[Environment]:
    """The previews, oldest first."""
    return [each for each in tx.environments(present=True) if not each.key.is_of_snapshot]


def _base_of(tx: Transaction, environment: Environment) -> Environment | None:
    """The preview of the branch that the pull request would be merged into, if there is one."""
    if environment.change is None:
        return None
    wanted = environment.change.base_ref
    for each in tx.environments(present=True):
        if each.app == environment.app and each.change is None and each.name == wanted:
            return each
    return None
