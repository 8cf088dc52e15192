"""The contents of volumes and snapshots in memory."""

from __future__ import annotations

from stager.domain.errors import Fault
from stager.ports.data import VolumeKey
from stager.ports.engine import Clone

Files = dict[str, str]
"""The texts of files by their names."""


class FakeVolumes:
    """What the fake engine and `FakeData` share.

    Attributes:
        files: the contents of all volumes.
        origins: what clones started as.
        snapshots: the contents by part, by snapshot.
        benches: the volumes of workbenches.
    """

    def __init__(self) -> None:
        self.files: dict[VolumeKey, Files] = {}
        self.origins: dict[VolumeKey, Clone] = {}
        self.snapshots: dict[str, dict[str, Files]] = {}
        self.benches: set[VolumeKey] = set()

    def create(self, volume: VolumeKey, clone: Clone | None) -> None:
        """Create a volume; no effect if it exists."""
        if volume in self.files:
            return
        self.files[volume] = self.cloned(clone) if clone else {}
        if clone:
            self.origins[volume] = clone

    def cloned(self, clone: Clone) -> Files:
        """A copy of a part of a snapshot.

        Raises:
            Fault: `snapshot-missing`.
        """
        parts = self.snapshots.get(clone.snapshot, {})
        if clone.part not in parts:
            raise Fault(f"The snapshot {clone.snapshot} doesn't exist any more.", reason="snapshot-missing")
        return {name: text for name, text in parts[clone.part].items() if name not in clone.without}

    def drop(self, volume: VolumeKey) -> None:
        """Remove a volume; no effect if it isn't there."""
        self.files.pop(volume, None)
        self.origins.pop(volume, None)
        self.benches.discard(volume)
