"""Rotation: the choice of the preview that is removed for a new one when `max_previews` is reached."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from stager.control.plugins.invoker import Invoker
from stager.control.plugins.lifecycle import preview_of
from stager.control.routing.urls import Urls
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import StagerError
from stager.ports.handlers import ContainerRotationStrategy, Preview

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rotation:
    """Chooses which preview is removed at the limit.

    Args:
        strategy: the configured plugin; None: the oldest preview.
    """

    invoker: Invoker
    urls: Urls
    strategy: ContainerRotationStrategy | None = None

    async def choose(self, candidates: list[tuple[Environment, Deployment | None]]) -> str | None:
        """The id of the environment to remove; None: none of them.

        Args:
            candidates: in the order of their start, oldest first.
        """
        previews = [preview_of(*pair, self.urls) for pair in candidates]
        chosen = await self._choose(previews)
        return chosen.id if chosen else None

    async def _choose(self, previews: list[Preview]) -> Preview | None:
        if self.strategy is None or not previews:
            return next(iter(previews), None)
        try:
            answer = await self.invoker.ask(self.strategy, "to_rotate", previews)
        except StagerError as error:
            log.warning("rotation_by_age", reason=error.reason, error=error.message)
            return previews[0]
        if answer is not None and answer not in previews:
            error_text = f"{type(self.strategy).__name__} returned a preview that isn't a candidate"
            log.warning("rotation_by_age", error=error_text)
            return previews[0]
        return next((p for p in previews if p == answer), None)
