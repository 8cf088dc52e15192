"""Builds untrusted code in a separate builder, which the root helper starts and limits.

It gets the base images that the configuration lends, and nothing else: no credentials, proxies, secrets or
cache. It returns one image without a name, which is verified during the transfer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import aiodocker
import structlog

from stager.domain.errors import Fault, Refused, StagerError
from stager.engines.docker.build import image_transfer
from stager.engines.docker.build.builder import BuildxBuilder, gigabytes
from stager.engines.docker.build.image_archive import Expected
from stager.engines.docker.build.lent_images import LentImages
from stager.engines.docker.client import connect, engine_errors
from stager.helper_client import HelperClient
from stager.ports.builder import BuildOrder, Say

log = structlog.get_logger(__name__)

STARTING = 60.0
"""Time limit of the helper's verbs in seconds; a start takes about two."""
SETUP_DOCS = "docs/how-to/build-code-from-forks.md says how to set it up"


@dataclass(frozen=True, slots=True)
class Lending:
    """The configuration of untrusted builds.

    Args:
        images: patterns of names of this machine's images.
        largest_image: bytes.
        idle: seconds after which the builder is stopped.
    """

    images: Sequence[str] = ()
    largest_image: int = 4 << 30
    idle: float = 600.0


class UntrustedBuilder:
    """The builder for untrusted code.

    Args:
        helper: starts and stops the builder; None if it is off.
        host: this machine's engine, which runs the images.
        trusted: the builder of that engine, which stores the images.
        disk_floor: bytes that must be free on the builder's disk, and on the host's besides the image.
        cgroup_parent: see `BuildxBuilder`.
    """

    def __init__(
        self,
        helper: HelperClient | None,
        host: aiodocker.Docker,
        trusted: BuildxBuilder,
        lending: Lending,
        *,
        disk_floor: int = 0,
        cgroup_parent: str = "",
    ) -> None:
        self._helper = helper
        self._host = host
        self._trusted = trusted
        self._lending = lending
        self._lent = LentImages(host, lending.images)
        self._disk_floor = disk_floor
        self._cgroup_parent = cgroup_parent
        self._building = 0
        self._used_at: float | None = None
        self._lending_lock = asyncio.Lock()

    async def build(self, order: BuildOrder, say: Say) -> str:
        """See `Builder.build`.

        Raises:
            Refused: `untrusted-builder-missing`: the builder isn't set up.
        """
        order = replace(order, recipe=replace(order.recipe, secrets={}), untrusted=True)
        with self._noted(), self._trusted.protected(order.key):
            address = await self._start()
            docker = connect(address)
            try:
                async with self._lending_lock:
                    for name in await self._lent.sync(docker):
                        say(f"Lent {name} to the builder for untrusted code")
                return await self._build(order, docker, address, say)
            finally:
                await docker.close()

    async def _build(self, order: BuildOrder, docker: aiodocker.Docker, address: str, say: Say) -> str:
        builder = BuildxBuilder(
            docker, address, self._trusted.installation, cgroup_parent=self._cgroup_parent, isolated=True
        )
        image = await builder.build(order, say)
        try:
            say("Transferring the image from the builder for untrusted code")
            return await self._take(order, docker, image)
        finally:
            with suppress(StagerError, aiodocker.DockerError), engine_errors():
                await docker.images.delete(image, force=True)

    async def _take(self, order: BuildOrder, docker: aiodocker.Docker, image: str) -> str:
        free, floor = await self._trusted.free_bytes(), self._disk_floor
        if free is not None and free < floor:
            raise _disk_full("Docker's disk", free, floor)
        room = self._lending.largest_image if free is None else min(self._lending.largest_image, free - floor)
        labels = await self._trusted.labels(order)
        await image_transfer.take(docker, self._host, Expected(image, labels, room))
        await self._trusted.name(image, order)
        return image

    async def stop_if_idle(self) -> None:
        """Stop the builder after its idle time. Failures are logged only."""
        now = asyncio.get_running_loop().time()
        if self._helper is None or self._building or self._used_at is None:
            return
        if now - self._used_at < self._lending.idle:
            return
        self._used_at = None
        try:
            await self._helper.call("builder-stop", STARTING)
            log.info("untrusted_builder_stopped")
        except StagerError as error:
            log.warning("untrusted_builder_stop_failed", error=error.message)

    async def _start(self) -> str:
        """Start the builder and return its engine's address."""
        if self._helper is None:
            raise missing("The configuration has `helper: off`.")
        if not self._helper.socket.exists():
            raise missing(f"There is no root helper at {self._helper.socket}.")
        try:
            started = await self._helper.call("builder-start", STARTING)
        except Fault as error:
            raise missing(error.message, error.hint) from error
        await self._check_room(int(started["free"]))
        return f"unix://{started['socket']}"

    async def _check_room(self, free: int) -> None:
        if free < self._disk_floor:
            raise _disk_full("the disk of the builder for untrusted code", free, self._disk_floor)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        self._building += 1
        try:
            yield
        finally:
            self._building -= 1
            self._used_at = asyncio.get_running_loop().time()


def missing(why: str, hint: str = "") -> Refused:
    """The error for a builder that isn't set up."""
    return Refused(
        "Code from forks can't be built: the builder for untrusted code isn't set up.",
        hint=hint
        or f"An administrator can set up `stager-helper` ({SETUP_DOCS}), or accept with "
        "`forks.unsafe_shared_builder: true` that such builds can tamper with trusted ones.",
        reason="untrusted-builder-missing",
        detail=why,
    )


def _disk_full(where: str, free: int, floor: int) -> Fault:
    return Fault(
        f"Not enough disk space to build: {gigabytes(free)} are free on {where}; {gigabytes(floor)} are "
        "required.",
        hint="`stager-helper --builder-size` enlarges that disk; `builds.min_free_disk` sets the minimum.",
        reason="disk-full",
    )
