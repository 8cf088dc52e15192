"""The section `capacity`: what previews may use together."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stager.domain.allocation import Limit
from stager.settings.values.scalars import NOT_BOOLEAN, POSITIVE, Duration, Size
from stager.settings.values.section import Section

MIB = 1 << 20
GIB = 1 << 30

Count = Annotated[int, Field(ge=1), NOT_BOOLEAN]
Bytes = Annotated[Size, POSITIVE]


class CapacityLimits(Section):
    """Limits of one application, or of the pull requests of one author."""

    max_running: Count | None = None
    """Maximum number of previews that are awake at once. If absent, unlimited."""

    max_memory: Bytes | None = None
    """Memory that the previews use together, as measured. If absent, unlimited."""

    max_disk: Bytes | None = None
    """Disk space that the previews may fill together: what their instances write, and their volumes, without
    images. Of a volume in the data pool, only what it doesn't share with a snapshot counts. With more,
    further previews wait. Measured every two minutes. If absent, unlimited."""

    @property
    def limit(self) -> Limit:
        """The limits as a domain value."""
        return Limit(self.max_running, self.max_memory, self.max_disk)


class CapacitySettings(CapacityLimits):
    """Limits of all previews together. At a limit, the previews that were visited least recently sleep; if
    that isn't enough, the newest preview waits in a queue and starts by itself."""

    application: CapacityLimits = CapacityLimits()
    """Limits of each application."""

    author: CapacityLimits = CapacityLimits()
    """Limits of the pull requests of each author."""

    free_memory: Size = 256 * MIB
    """Memory of the machine that stays available. With less, previews sleep, and further ones wait."""

    free_disk: Size = GIB
    """Disk space that stays free where Docker stores its data. With less, further previews wait."""

    min_idle: Duration = 60.0
    """How long a preview wasn't visited before it may be put to sleep for another one. A pinned preview never
    is."""
