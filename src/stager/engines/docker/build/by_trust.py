"""Chooses the builder by the trust in the code."""

from __future__ import annotations

from collections.abc import Collection

from stager.domain.leftovers import Leftover
from stager.engines.docker.build.builder import BuildxBuilder
from stager.engines.docker.build.untrusted import UntrustedBuilder
from stager.ports.builder import BuildOrder, ImageFacts, Say

UNSAFE = "WARNING: code from a fork is built together with trusted code (forks.unsafe_shared_builder)"


class BuilderByTrust:
    """See `ports.builder.Builder`.

    Args:
        trusted: builds trusted code, and stores all images.
        untrusted: builds code from forks; None builds it with the trusted builder.
    """

    def __init__(self, trusted: BuildxBuilder, untrusted: UntrustedBuilder | None) -> None:
        self._trusted = trusted
        self._untrusted = untrusted

    async def find(self, app: str, key: str) -> str | None:
        """See `Builder.find`."""
        return await self._trusted.find(app, key)

    async def build(self, order: BuildOrder, say: Say) -> str:
        """See `Builder.build`."""
        if not order.untrusted:
            return await self._trusted.build(order, say)
        if self._untrusted is not None:
            return await self._untrusted.build(order, say)
        say(UNSAFE)
        return await self._trusted.build(order, say)

    async def facts(self, image: str) -> ImageFacts:
        """See `Builder.facts`."""
        return await self._trusted.facts(image)

    async def leftovers(self, keep: Collection[str]) -> list[Leftover]:
        """See `Builder.leftovers`."""
        return await self._trusted.leftovers(keep)

    async def sweep(self, keep: Collection[str]) -> int:
        """See `Builder.sweep`."""
        if self._untrusted is not None:
            await self._untrusted.stop_if_idle()
        return await self._trusted.sweep(keep)
