"""Snapshots for people: create, list, show, choose, download and delete, by permission."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog

from stager.control.data.files import SnapshotFiles
from stager.control.data.making import Making
from stager.control.identity.authorizer import Authorizer
from stager.domain.application import Applications
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.domain.snapshot import CreateSnapshot, Snapshot, SnapshotState, current_of
from stager.ports.data import Data
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

CURRENT = "current"
"""The reference of the application's current snapshot."""


class Snapshots:
    """The snapshots of all applications. An action that changes one is recorded in the audit log."""

    def __init__(
        self,
        store: Store,
        data: Data,
        applications: Applications,
        authorizer: Authorizer,
        making: Making,
        files: SnapshotFiles,
    ) -> None:
        self._store = store
        self._data = data
        self._applications = applications
        self._authorizer = authorizer
        self._making = making
        self._files = files

    async def check_creation(self, app: str, actor: Actor) -> None:
        """Check that the actor may create snapshots of an application, before a dump is received.

        Raises:
            Refused: 403, or there is no such application.
        """
        await self._authorizer.check(actor, Action.MANAGE_SNAPSHOTS, app)
        self._applications.get(app)
        await self._check_role(actor, Action.MANAGE_SNAPSHOTS, app)

    async def create(self, request: CreateSnapshot, actor: Actor) -> Snapshot:
        """Begin to make a snapshot. Returns it at once; `wait` waits until it is ready or has failed.

        Raises:
            Refused: with the reason; nothing has changed.
        """
        async with self._acting(actor, Action.MANAGE_SNAPSHOTS, request.app, request.name or "new snapshot"):
            return await self._making.begin(request, str(actor))

    async def wait(self, snapshot_id: str, actor: Actor, seconds: float) -> Snapshot:
        """Wait until a snapshot is no longer being made, at most this long. Returns it as it is then. Raises
        as `show`."""
        await self._making.wait(snapshot_id, seconds)
        return await self.show(snapshot_id, actor)

    async def list(self, actor: Actor, app: str = "") -> list[Snapshot]:
        """The snapshots that the actor may see, those of an application newest first.

        Args:
            app: empty for all.

        Raises:
            Refused: `image-unknown`: the application isn't configured and has no snapshots.
        """
        found = await self._store.read(lambda tx: tx.snapshots(app or None))
        if app and not found:
            self._applications.get(app)
        visible = await self._authorizer.visible(actor, {each.app for each in found})
        return [each for each in found if each.app in visible]

    async def show(self, snapshot_id: str, actor: Actor) -> Snapshot:
        """The snapshot with this id. Raises `Refused` (404) unless the actor may see it."""
        snapshot = await self._store.read(lambda tx: tx.snapshot(snapshot_id))
        if snapshot is None or not await self._authorizer.may(actor, Action.SEE, snapshot.app):
            raise _unknown(snapshot_id)
        return snapshot

    async def find(self, app: str, reference: str, actor: Actor) -> Snapshot:
        """A snapshot of an application by its number, its name or its id, or the word `current`.

        Raises:
            Refused: 404, there is none; 409, several have the name.
        """
        snapshots = await self.list(actor, app)
        current = current_of(snapshots)
        if reference == CURRENT and current is not None:
            return current
        exact = [each for each in snapshots if reference in (str(each.number), each.id)]
        found = exact or [each for each in snapshots if each.name and each.name == reference]
        if len(found) > 1:
            numbers = ", ".join(str(each.number) for each in found)
            raise Refused(
                f'Several snapshots of {app} have the name "{reference}".',
                hint=f"Use one of the numbers {numbers}.",
                reason="snapshot-ambiguous",
                status=409,
            )
        if not found:
            raise _unknown(reference)
        return found[0]

    async def use(self, snapshot_id: str, actor: Actor) -> Snapshot:
        """Make a snapshot the current one of its application, also when there is a newer one later.

        Raises:
            Refused: 404; 409 `snapshot-not-ready`.
        """
        snapshot = await self.show(snapshot_id, actor)
        async with self._acting(actor, Action.MANAGE_SNAPSHOTS, snapshot.app, f"use {snapshot.title}"):
            return await self._store.write(lambda tx: _choose(tx, snapshot_id))

    async def use_newest(self, app: str, actor: Actor) -> Snapshot | None:
        """Make the newest snapshot of an application the current one again. Returns it, if there is one."""
        async with self._acting(actor, Action.MANAGE_SNAPSHOTS, app, "use the newest snapshot"):
            return await self._store.write(lambda tx: _choose_newest(tx, app))

    async def delete(self, snapshot_id: str, actor: Actor) -> Snapshot:
        """Delete a snapshot; one that is being made is cancelled. Previews keep their clones.

        Raises:
            Refused: 404.
            Retry: the engine or the root helper doesn't answer; the deletion goes on later.
        """
        snapshot = await self.show(snapshot_id, actor)
        async with self._acting(actor, Action.MANAGE_SNAPSHOTS, snapshot.app, f"delete {snapshot.title}"):
            await self._making.cancel(snapshot_id)
            await self._files.remove(snapshot)
        return replace(snapshot, state=SnapshotState.DELETING)

    async def download(self, snapshot_id: str, volume: str, actor: Actor) -> AsyncIterator[bytes]:
        """A tar archive of a volume of a snapshot; its entries are in the folder `volume`.

        Raises:
            Refused: 404, also for an unknown volume; 409 `snapshot-not-ready`.
        """
        snapshot = await self.show(snapshot_id, actor)
        async with self._acting(
            actor, Action.DOWNLOAD_SNAPSHOT, snapshot.app, f"{snapshot.title}, {volume[:100]}"
        ):
            _check_ready(snapshot)
            if snapshot.volume(volume) is None:
                raise Refused(
                    f'{snapshot.title.capitalize()} has no volume "{volume}".',
                    hint=f"It has {', '.join(each.volume for each in snapshot.volumes)}.",
                    reason="volume-unknown",
                    status=404,
                )
        return self._data.export(snapshot.id, volume)

    @asynccontextmanager
    async def _acting(self, actor: Actor, action: Action, app: str, subject: str) -> AsyncIterator[None]:
        """Check the permission, with the role that the application requires, and record the action."""
        async with self._authorizer.authorized(actor, action, app, subject):
            await self._check_role(actor, action, app)
            yield

    async def _check_role(self, actor: Actor, action: Action, app: str) -> None:
        """Check that the actor has the role that the application requires."""
        application = self._applications.find(app)
        needed = application.data.min_role if application else None
        role = await self._authorizer.role(actor, app)
        if needed is not None and role < needed:
            raise Refused(
                f'{actor.name} lacks the permission "{action}" for {app}.',
                hint=f"`images.{app}.data.min_role` requires the role {needed}; the role is {role}.",
                reason="not-permitted",
                status=403,
            )


def _choose(tx: Transaction, snapshot_id: str) -> Snapshot:
    snapshot = tx.snapshot(snapshot_id)
    if snapshot is None:
        raise _unknown(snapshot_id)
    _check_ready(snapshot)
    _choose_newest(tx, snapshot.app)
    chosen = replace(snapshot, is_chosen=True)
    tx.save_snapshot(chosen)
    return chosen


def _choose_newest(tx: Transaction, app: str) -> Snapshot | None:
    for each in tx.snapshots(app):
        if each.is_chosen:
            tx.save_snapshot(replace(each, is_chosen=False))
    return current_of(tx.snapshots(app))


def _check_ready(snapshot: Snapshot) -> None:
    if not snapshot.is_ready:
        raise Refused(
            f"{snapshot.title.capitalize()} isn't ready: it is {_WORDS[snapshot.state]}.",
            reason="snapshot-not-ready",
            status=409,
        )


_WORDS = {
    SnapshotState.MAKING: "being made",
    SnapshotState.FAILED: "one that failed",
    SnapshotState.DELETING: "being deleted",
}


def _unknown(reference: str) -> Refused:
    return Refused(
        f'There is no snapshot "{reference[:100]}".',
        hint="`stager snapshot list` shows all.",
        reason="snapshot-unknown",
        status=404,
    )
