"""Chooses the preview that is evicted when `max_previews` is reached. Without a strategy, the oldest."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import RootModel

from stager.ports.handlers import ContainerRotationStrategy, Preview


class EvergreenExceptionsContainerRotationStrategy(ContainerRotationStrategy):
    """Evicts the oldest preview whose name isn't among `evergreen_containers`."""

    section = "evergreen_containers"

    class Settings(RootModel[tuple[str, ...]]):
        """Names of previews that are never evicted."""

        root: tuple[str, ...] = ()

    def __init__(self, settings: Settings) -> None:
        self._evergreen = frozenset(settings.root)

    async def to_rotate(self, previews: Sequence[Preview]) -> Preview | None:
        return next((p for p in previews if p.container_name not in self._evergreen), None)
