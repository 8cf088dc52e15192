"""The loop that takes pictures of previews, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from stager.control.pictures.sittings import Result, Sitting, Studio
from stager.control.ports import Ports
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Fault, Retry
from stager.domain.source import Trust
from stager.ports.pictures import MEMORY_SHORT, Album, PicturePorts
from stager.ports.store import Transaction

log = structlog.get_logger(__name__)

FREE_MEMORY = 1 << 30
"""Bytes that are available before a browser starts: its limit, and as much for previews."""
COALESCE_SECONDS = 1.0
"""How long changes are collected before the loop looks again."""
ATTEMPTS = 3
"""How often pictures of one deployment are tried."""


class Rounds:
    """Takes pictures of what has been published. Code from a fork is opened in a browser only if the
    configuration allows it.

    Args:
        publish: called with the id of an environment whose pictures are new. It must not block or raise.
    """

    def __init__(
        self, ports: Ports, pictures: PicturePorts, publish: Callable[[str], None] = lambda _: None
    ) -> None:
        self._store, self._machine, self._clock = ports.store, ports.machine, ports.clock
        self._albums, self._forks = pictures.albums, pictures.options.forks
        self._studio, self._publish = Studio(ports, pictures), publish
        self._done: dict[str, int] = {}
        self._soon: asyncio.TimerHandle | None = None
        self._attempts: dict[str, int] = {}
        self.covers: dict[str, str] = {}
        """The keys of the albums' covers, by the preview's id; empty for an album without."""
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
        await self._forget_others(present)
        for environment in present.values():
            if deployment := await self._missing(environment):
                await self._visit(environment, deployment)

    async def _forget_others(self, present: Mapping[str, Environment]) -> None:
        self._done = {key: value for key, value in self._done.items() if key in present}
        self.covers = {key: value for key, value in self.covers.items() if key in present}
        await self._albums.keep(present)
        for id_ in present.keys() - self.covers.keys():
            album = await self._albums.load(id_)
            self.covers[id_] = album.cover if album else ""

    async def _missing(self, environment: Environment) -> Deployment | None:
        """The deployment that visitors see, if it has no pictures."""
        serving = environment.serving
        if serving is None or self._done.get(environment.id) == serving:
            return None
        if not environment.desired.should_run:
            return None
        found = await self._store.read(lambda tx: tx.deployment_of(environment.id, serving))
        if found is None:
            return None
        album = await self._albums.load(environment.id)
        if album is not None and album.deployment == found.id and album.is_final:
            self._done[environment.id] = serving
            return None
        return found

    async def _visit(self, environment: Environment, deployment: Deployment) -> None:
        if environment.desired.trust is not Trust.TRUSTED and not self._forks:
            return await self._save_none(environment, deployment, _untrusted())
        if (available := await self._available()) < FREE_MEMORY:
            return await self._postpone(environment, deployment, available)
        sitting = await self._studio.sitting(environment, deployment)
        if sitting is None:  # it is being stopped or replaced
            return None
        try:
            result = await self._studio.take(sitting)
            await self._save(environment, result)
        except Fault as fault:
            await self._save_none(environment, deployment, fault)
        except Retry as retry:
            await self._count_failure(sitting, retry)
        except (OSError, ValueError, SyntaxError) as error:  # Pillow raises all of them
            what = f"The pictures can't be read or stored ({type(error).__name__})."
            await self._count_failure(sitting, Retry(what, reason="pictures-unusable"))

    async def _available(self) -> float:
        """Bytes of memory; unlimited where that can't be measured."""
        available = (await self._machine.state()).available_memory
        return float("inf") if available is None else available

    async def _postpone(self, environment: Environment, deployment: Deployment, available: float) -> None:
        """Say once why there are no pictures yet."""
        album = await self._albums.load(environment.id)
        if album is None or album.deployment != deployment.id:
            await self._save_none(environment, deployment, _short_of_memory(available))

    async def _count_failure(self, sitting: Sitting, retry: Retry) -> None:
        id_ = sitting.deployment.id
        count = self._attempts[id_] = self._attempts.get(id_, 0) + 1
        log.info("pictures_failed", environment=sitting.environment.id, error=str(retry), attempt=count)
        if count >= ATTEMPTS:
            fault = Fault(retry.message, hint=retry.hint, reason=retry.reason)
            await self._save_none(sitting.environment, sitting.deployment, fault)

    async def _save_none(self, environment: Environment, deployment: Deployment, why: Fault) -> None:
        log.info("pictures_failed", environment=environment.id, error=str(why), reason=why.reason)
        album = Album(deployment.id, self._clock.now(), (), why.reason, why.message, why.hint)
        await self._save(environment, Result(album, {}, b""))

    async def _save(self, environment: Environment, result: Result) -> None:
        album = result.album
        await self._albums.save(environment.id, album, result.pictures, result.thumbnail)
        self.covers[environment.id] = album.cover
        self._attempts.pop(album.deployment, None)
        if not album.reason:
            count = sum(1 for each in album.pictures if each.key)
            log.info("pictures_taken", environment=environment.id, count=count)
        self._publish(environment.id)


def _present(tx: Transaction) -> list[Environment]:
    """The previews, oldest first."""
    return [each for each in tx.environments(present=True) if not each.key.is_of_snapshot]


def _untrusted() -> Fault:
    return Fault(
        "Code from a fork isn't opened in a browser.",
        hint="`pictures.forks: allow` in the configuration allows it.",
        reason="pictures-untrusted",
    )


def _short_of_memory(available: float) -> Fault:
    return Fault(
        f"There are no pictures yet: a browser needs 1 GB of memory, and {available / (1 << 30):.1f} GB are "
        "available.",
        hint="They are taken once previews are removed or asleep.",
        reason=MEMORY_SHORT,
    )
