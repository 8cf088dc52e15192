"""The repository of environments and deployments: small transactions on the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

from stager.control.routing.urls import hosts_of
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, EnvironmentKey
from stager.domain.errors import Fault
from stager.domain.snapshot import Snapshot, current_of
from stager.domain.source import Repository
from stager.ports.store import StateKind, Store, Transaction


class Records:
    """Reads and changes stored environments and deployments."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def environment(self, environment_id: str) -> Environment | None:
        """The environment of this id; None if there is none."""
        return await self._store.read(lambda tx: tx.environment(environment_id))

    async def with_current(self, environment_id: str) -> tuple[Environment, Deployment | None] | None:
        """The environment and the deployment of its desired generation."""
        return await self._store.read(lambda tx: _with_current(tx, environment_id))

    async def generations(
        self, environment: Environment, generations: Iterable[int]
    ) -> tuple[dict[int, Deployment], dict[str, str]]:
        """The deployments of these generations, by generation; those that don't exist are left out. And the
        environment's hosts, see `hosts_of`."""
        wanted = set(generations)
        return await self._store.read(
            lambda tx: (_of_generations(tx, environment.id, wanted), hosts_of(tx, environment))
        )

    async def deployments(self, environment_id: str) -> list[Deployment]:
        """The environment's stored deployments, newest first."""
        return await self._store.read(lambda tx: tx.deployments(environment_id))

    async def current(self, environment: Environment) -> Deployment | None:
        """The deployment of the desired generation."""
        return await self._store.read(
            lambda tx: tx.deployment_of(environment.id, environment.desired.generation)
        )

    async def with_hosts(
        self, environment_id: str
    ) -> tuple[Environment, Deployment | None, dict[str, str]] | None:
        """The environment, the deployment of its desired generation, and its hosts, see `hosts_of`."""
        return await self._store.read(lambda tx: _with_hosts(tx, environment_id))

    async def save(self, deployment_id: str, change: Callable[[Deployment], Deployment]) -> Deployment:
        """Change a deployment and return it."""
        return await self._store.write(lambda tx: _change(tx, deployment_id, change))

    async def prepared(self, deployment_id: str, change: Callable[[Deployment], Deployment]) -> Deployment:
        """Change a deployment to a prepared one and return it. What its volumes are cloned from stays decided
        for its generation, and its environment is private from now on."""
        return await self._store.write(lambda tx: _save_prepared(tx, deployment_id, change))

    async def snapshot_for(self, environment: Environment) -> Snapshot | None:
        """The snapshot for the clones of the desired generation: the one that was chosen for it, if it is
        still there, else the application's current one. None for an environment that a snapshot is made
        from."""
        return await self._store.read(lambda tx: _snapshot_for(tx, environment))

    async def rollback_source(self, deployment: Deployment) -> Deployment | None:
        """The deployment that this one brings back; None unless it is a roll back."""
        of, generation = deployment.environment_id, deployment.generation
        return await self._store.read(lambda tx: rollback_source(tx, of, generation))

    async def are_ready(self, snapshots: Iterable[str]) -> bool:
        """Whether all snapshots with these ids are ready."""
        found = await self._store.read(lambda tx: [tx.snapshot(each) for each in snapshots])
        return all(each is not None and each.is_ready for each in found)

    async def allot_hosts(
        self, environment_id: str, allot: Callable[[Transaction], Mapping[str, str]]
    ) -> Mapping[str, str]:
        """Store hosts of an environment's services beside those that it has, and return them."""

        def work(tx: Transaction) -> Mapping[str, str]:
            hosts = allot(tx)
            if hosts:
                tx.save_service_hosts(environment_id, {**tx.service_hosts(environment_id), **hosts})
            return hosts

        return await self._store.write(work)

    async def keep_hosts(self, environment_id: str, services: Collection[str]) -> None:
        """Give up the hosts of an environment's other services."""

        def work(tx: Transaction) -> None:
            hosts = tx.service_hosts(environment_id)
            kept = {service: host for service, host in hosts.items() if service in services}
            if kept != hosts:
                tx.save_service_hosts(environment_id, kept)

        await self._store.write(work)

    async def volume_epochs(self) -> dict[str, frozenset[int]]:
        """See `volume_epochs`."""
        return await self._store.read(lambda tx: volume_epochs(tx, tx.environments()))

    async def serving(self, environment_id: str, generation: int | None) -> None:
        """Store which generation the front sends requests to. Nothing sleeps any more."""
        await self._store.write(lambda tx: _set_serving(tx, environment_id, generation))

    async def put_to_sleep(self, environment_id: str, runs: frozenset[str]) -> None:
        """Add these to `Environment.asleep_runs`."""

        def work(tx: Transaction) -> None:
            environment = tx.environment(environment_id)
            if environment is not None:
                tx.save_environment(replace(environment, asleep_runs=environment.asleep_runs | runs))

        await self._store.write(work)

    async def awake(self, environment_id: str, generation: int) -> None:
        """Have an environment of this generation stay awake, because it was requested while it was put to
        sleep."""

        def work(tx: Transaction) -> None:
            environment = tx.environment(environment_id)
            if environment is None or environment.desired.generation != generation:
                return
            if environment.desired.is_asleep:
                desired = environment.desired.resumed()
                tx.save_environment(replace(environment, desired=desired, asleep_runs=frozenset()))

        await self._store.write(work)

    async def live(self, environment_id: str, deployment_id: str, now: datetime) -> None:
        """Store that this deployment serves."""
        await self._store.write(lambda tx: _mark_live(tx, environment_id, deployment_id, now))


def _with_current(tx: Transaction, environment_id: str) -> tuple[Environment, Deployment | None] | None:
    environment = tx.environment(environment_id)
    if environment is None:
        return None
    return environment, tx.deployment_of(environment_id, environment.desired.generation)


def _with_hosts(
    tx: Transaction, environment_id: str
) -> tuple[Environment, Deployment | None, dict[str, str]] | None:
    found = _with_current(tx, environment_id)
    return None if found is None else (*found, hosts_of(tx, found[0]))


def _of_generations(tx: Transaction, environment_id: str, generations: set[int]) -> dict[int, Deployment]:
    found = (tx.deployment_of(environment_id, generation) for generation in generations)
    return {deployment.generation: deployment for deployment in found if deployment}


def volume_epochs(tx: Transaction, environments: Iterable[Environment]) -> dict[str, frozenset[int]]:
    """The epochs (see `Environment.volume_epoch`) whose volumes stay while nothing of them runs, by the id of
    the environment: that of the desired generation, and that of the one that visitors see."""
    return {each.id: _epochs(tx, each) for each in environments if each.keeps_volumes}


def _epochs(tx: Transaction, environment: Environment) -> frozenset[int]:
    serving = None
    if environment.serving not in (None, environment.desired.generation):
        serving = tx.deployment_of(environment.id, environment.serving)
    earlier = {service.volume_epoch for service in serving.services} if serving else set()
    return frozenset({environment.volume_epoch, *earlier})


def _change(tx: Transaction, deployment_id: str, change: Callable[[Deployment], Deployment]) -> Deployment:
    deployment = tx.deployment(deployment_id)
    if deployment is None:
        raise Fault(
            "The deployment is no longer stored.",
            hint="Launch the preview again.",
            reason="deployment-missing",
        )
    changed = change(deployment)
    tx.save_deployment(changed)
    return changed


def _save_prepared(
    tx: Transaction, deployment_id: str, change: Callable[[Deployment], Deployment]
) -> Deployment:
    saved = _change(tx, deployment_id, change)
    environment = tx.environment(saved.environment_id)
    if environment is not None and saved.snapshot:
        tx.save_environment(replace(environment, has_cloned_data=True))
        save_chosen_snapshot(tx, environment.id, saved.generation, saved.snapshot)
    return saved


def save_chosen_snapshot(tx: Transaction, environment_id: str, generation: int, snapshot: str) -> None:
    """Store which snapshot the volumes of a generation are cloned from."""
    tx.save_environment_state(environment_id, StateKind.SNAPSHOT, f"{generation} {snapshot}")


def _snapshot_for(tx: Transaction, environment: Environment) -> Snapshot | None:
    if environment.key.is_of_snapshot:
        return None
    generation, _, chosen = tx.environment_state(environment.id, StateKind.SNAPSHOT).partition(" ")
    before = tx.snapshot(chosen) if generation == str(environment.desired.generation) else None
    return before if before and before.is_ready else current_of(tx.snapshots(environment.app))


def rollback_source(tx: Transaction, environment_id: str, generation: int) -> Deployment | None:
    """The deployment that this generation brings back; None unless it is a roll back."""
    rolled_back, _, source = tx.environment_state(environment_id, StateKind.ROLLBACK).partition(" ")
    return tx.deployment(source) if rolled_back == str(generation) else None


def save_rollback_source(tx: Transaction, environment: Environment, source: Deployment) -> None:
    """Store which deployment the desired generation brings back."""
    value = f"{environment.desired.generation} {source.id}"
    tx.save_environment_state(environment.id, StateKind.ROLLBACK, value)


def current_content(tx: Transaction, environment: Environment) -> Deployment | None:
    """The deployment of the desired generation; if that is a roll back which isn't prepared, the one that it
    brings back."""
    generation = environment.desired.generation
    deployment = tx.deployment_of(environment.id, generation)
    if deployment is None or deployment.services:
        return deployment
    return rollback_source(tx, environment.id, generation) or deployment


def _mark_live(tx: Transaction, environment_id: str, deployment_id: str, now: datetime) -> None:
    live = _change(tx, deployment_id, lambda d: replace(d, live_at=d.live_at or now, ended_at=None))
    _set_serving(tx, environment_id, live.generation)
    environment = tx.environment(environment_id)
    if environment is not None and environment.desired.generation == live.generation:
        tx.save_environment(replace(environment, has_cloned_data=bool(live.snapshot)))


def _set_serving(tx: Transaction, environment_id: str, generation: int | None) -> None:
    environment = tx.environment(environment_id)
    if environment is not None:
        tx.save_environment(replace(environment, serving=generation, asleep_runs=frozenset()))


def previews_of(tx: Transaction, repository: Repository, number: int) -> list[Environment]:
    """The present environments of this pull request, of any application: it may have been renamed, or removed
    from the configuration, since."""
    return tx.environments_of(EnvironmentKey.subject_of_change(repository.id, number))


@dataclass(frozen=True, slots=True)
class Note:
    """The answer to a command, shown in Stager's comment.

    Args:
        lines: of a log, or of the list of commands.
    """

    text: str
    lines: tuple[str, ...] = field(default_factory=tuple)


def note_of(tx: Transaction, environment: Environment) -> Note | None:
    """The newest note; None when there is none, or when it belongs to another commit or launch."""
    text = tx.environment_state(environment.id, StateKind.NOTE)
    data = json.loads(text) if text else None
    if data is None or data["about"] != _version(environment):
        return None
    return Note(data["text"], tuple(data["lines"]))


def save_note(tx: Transaction, environment_id: str, note: Note | None) -> None:
    """Store the note about the environment's current commit; it replaces an earlier one. None removes it."""
    environment = tx.environment(environment_id)
    about = _version(environment) if environment else ""
    text = json.dumps({**asdict(note), "about": about}) if note else ""
    tx.save_environment_state(environment_id, StateKind.NOTE, text)


def _version(environment: Environment) -> str:
    """The version that a note belongs to; the next push or launch makes it obsolete."""
    return f"{environment.desired.generation}:{environment.desired.revision.sha}"
