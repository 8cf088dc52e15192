"""What the volumes of a preview consist of, for people."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from stager.control.environments.queries import Queries
from stager.domain.deployment import DeployedService, Deployment
from stager.domain.environment import Environment
from stager.domain.errors import StagerError
from stager.domain.identity.actor import Actor
from stager.domain.service import VolumePolicy
from stager.domain.snapshot import Snapshot
from stager.ports.data import Data, VolumeKey
from stager.ports.store import Store, Transaction


@dataclass(frozen=True, slots=True)
class PreviewVolume:
    """A named volume of a preview.

    Args:
        snapshot_id: the snapshot that it was cloned from; empty if it started empty.
        snapshot: None if it started empty, or the snapshot was deleted.
        changed: bytes that it no longer shares with the snapshot; None if it is unknown.
    """

    service: str
    volume: str
    policy: VolumePolicy
    snapshot_id: str = ""
    snapshot: Snapshot | None = None
    changed: int | None = None


@dataclass(frozen=True, slots=True)
class PreviewData:
    """The volumes of a preview's generation that visitors see, or else of the desired one.

    Args:
        notes: why volumes started empty, a sentence each.
        was_reset_at: the generation at which its kept volumes were reset; 0 for never.
    """

    volumes: tuple[PreviewVolume, ...] = ()
    notes: tuple[str, ...] = ()
    was_reset_at: int = 0
    has_cloned_data: bool = False


class DataQueries:
    """Reads what previews run on."""

    def __init__(self, store: Store, queries: Queries, data: Data) -> None:
        self._store = store
        self._queries = queries
        self._data = data

    async def of_preview(self, environment_id: str, actor: Actor, *, usage: bool = False) -> PreviewData:
        """The data of a preview. Raises `Refused` (404) unless the actor may see it.

        Args:
            usage: whether to measure how much the clones have changed. Expensive.
        """
        environment = await self._queries.visible(environment_id, actor)
        changed: Mapping[VolumeKey, int] = {}
        if usage:
            with suppress(StagerError):  # it is shown as unknown
                changed = await self._data.changed(environment.id)
        return await self._store.read(lambda tx: data_of(tx, environment, changed))


def data_of(tx: Transaction, environment: Environment, changed: Mapping[VolumeKey, int]) -> PreviewData:
    """The data of a preview.

    Args:
        changed: see `Data.changed`.
    """
    deployment = _shown(tx, environment)
    if deployment is None:
        return PreviewData(has_cloned_data=environment.has_cloned_data)
    volumes = [
        _volume(tx, environment, service, name, deployment.generation, changed)
        for service in deployment.services
        for name in sorted({mount.volume for mount in service.spec.mounts if mount.volume})
    ]
    notes = (service.clone_note for service in deployment.services)
    return PreviewData(
        tuple(volumes),
        tuple(dict.fromkeys(filter(None, notes))),
        max((service.volume_epoch for service in deployment.services), default=0),
        environment.has_cloned_data,
    )


def _shown(tx: Transaction, environment: Environment) -> Deployment | None:
    numbers = (environment.serving, environment.desired.generation)
    found = (tx.deployment_of(environment.id, number) for number in numbers if number is not None)
    return next((each for each in found if each is not None and each.services), None)


def _volume(
    tx: Transaction,
    environment: Environment,
    service: DeployedService,
    name: str,
    generation: int,
    changed: Mapping[VolumeKey, int],
) -> PreviewVolume:
    policy = VolumePolicy.KEEP
    if name in service.fresh_volumes:
        policy = VolumePolicy.CLONE if name in service.clones else VolumePolicy.FRESH
    chosen = service.clones.get(name, "")
    return PreviewVolume(
        service.name,
        name,
        policy,
        chosen,
        tx.snapshot(chosen) if chosen else None,
        changed.get(VolumeKey(environment.id, name, generation)) if chosen else None,
    )
