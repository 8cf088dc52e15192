"""Reads for people: what they may not see doesn't exist for them, and what they may not read is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime

from stager.control.environments.attach import newest_of, service_name
from stager.control.environments.expiry import notice_of, notices_of
from stager.control.environments.lookup import existing, find_named, unknown
from stager.control.environments.pins import pin_of, pins
from stager.control.environments.records import current_content
from stager.control.environments.resource_records import problems_of
from stager.control.environments.visits import Visits, all_visits, visits_of
from stager.control.identity.authorizer import Authorizer
from stager.control.plugins.lifecycle import notes_of
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, Instance
from stager.domain.errors import Refused, StagerError
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action, may
from stager.domain.life import Notice
from stager.domain.rollback import earlier_revisions
from stager.domain.service_status import ServiceStatus, service_statuses
from stager.domain.status import State, status_of
from stager.ports.engine import Instances, Volume
from stager.ports.firewall import Blocked, Firewall
from stager.ports.store import StateKind, Store, Transaction


@dataclass(frozen=True, slots=True)
class Visibility:
    """What an actor may see of an application's previews, and do with them. False if nothing."""

    any: bool
    secret_names: bool = False
    logs: bool = False
    redeploy: bool = False
    kill: bool = False
    reset: bool = False
    sleep: bool = False
    wake: bool = False
    roll_back: bool = False
    keep: bool = False
    share: bool = False
    approve: bool = False

    def __bool__(self) -> bool:
        return self.any


@dataclass(frozen=True, slots=True)
class Row:
    """One environment in a listing.

    Args:
        deployment: of its desired generation.
        serving: of the generation that visitors see, if that is another one.
        services: those of the deployment, or of the one that visitors see while it isn't prepared.
        problems: why external resources aren't removed, a sentence each.
        notice: the warning that it will expire; None if it won't soon.
        is_pinned: whether it is exempt from expiry and eviction.
        rollback: what a roll back launches again; None if there is nothing, and in listings.
        last_visit: the last request that it served, as far as it is stored; None: none yet.
    """

    environment: Environment
    deployment: Deployment | None
    visibility: Visibility
    serving: Deployment | None = None
    services: tuple[ServiceStatus, ...] = ()
    problems: tuple[str, ...] = ()
    notice: Notice | None = None
    is_pinned: bool = False
    rollback: Deployment | None = None
    last_visit: datetime | None = None


NOTHING = Visibility(any=False)


class Queries:
    """Reads environments, their deployments and their logs, filtered by permission."""

    def __init__(
        self, store: Store, instances: Instances, authorizer: Authorizer, firewall: Firewall | None = None
    ) -> None:
        self._store = store
        self._instances = instances
        self._authorizer = authorizer
        self._firewall = firewall

    async def listing(self, actor: Actor, *, app: str = "", gone: bool = False) -> list[Row]:
        """The environments that the actor may see, oldest first.

        Args:
            app: only this application's; empty for all.
            gone: include those that were removed.
        """
        found = await self._store.read(lambda tx: _all(tx, app=app, gone=gone))
        apps = {row.environment.app for row in found}
        visible = {each: await self.visibility(actor, each) for each in apps}
        return [
            replace(row, visibility=visible[row.environment.app])
            for row in found
            if visible[row.environment.app]
        ]

    async def row(self, environment_id: str, actor: Actor) -> Row:
        """One environment as in a listing. Raises `Refused` (404) unless the actor may see it."""
        found = await self.visible(environment_id, actor)
        visibility = await self.visibility(actor, found.app)
        row = await self._store.read(lambda tx: _with_rollback(tx, existing(tx, environment_id)))
        return replace(row, visibility=visibility)

    async def all(self) -> list[Row]:
        """All environments that are present, not filtered by permission; see `unfiltered`."""
        return await self._store.read(lambda tx: _all(tx, app="", gone=False))

    async def unfiltered(self, environment_ids: Collection[str]) -> dict[str, Row]:
        """The environments of these ids, as far as they exist, by id. Not filtered by permission: the caller
        shows them to an actor by the actor's `visibility` only."""

        def read(tx: Transaction) -> dict[str, Row]:
            found = (tx.environment(each) for each in environment_ids)
            return {each.id: _with_deployments(tx, each) for each in found if each is not None}

        return await self._store.read(read)

    async def visibility(self, actor: Actor, app: str) -> Visibility:
        """What the actor may see of this application's previews."""
        role = await self._authorizer.role(actor, app)
        actions = (
            *(Action.SEE, Action.READ_SECRET_NAMES, Action.READ_LOGS),
            *(Action.REDEPLOY, Action.KILL, Action.RESET, Action.SLEEP, Action.WAKE),
            *(Action.ROLL_BACK, Action.KEEP, Action.SHARE, Action.APPROVE),
        )
        return Visibility(*(may(role, action) for action in actions))

    async def visible(self, environment_id: str, actor: Actor) -> Environment:
        """The environment of this id. Raises `Refused` (404) unless the actor may see it."""
        environment = await self._store.read(lambda tx: existing(tx, environment_id))
        if not await self._authorizer.may(actor, Action.SEE, environment.app):
            raise unknown(environment_id)
        return environment

    @asynccontextmanager
    async def acting(self, environment_id: str, actor: Actor, action: Action) -> AsyncIterator[None]:
        """Run the block as a permitted and audited action on this environment; see `Authorizer.authorized`.
        Raises `Refused` (404) if the actor may not even see it."""
        environment = await self.visible(environment_id, actor)
        subject = f"{environment.name} ({environment_id})"
        async with self._authorizer.authorized(actor, action, environment.app, subject):
            yield

    async def readable(self, environment_id: str, actor: Actor) -> Environment:
        """The environment of this id, if the actor may read its logs.

        Raises:
            Refused: 404 unless the actor may see it, 403 unless they may read its logs.
        """
        environment = await self.visible(environment_id, actor)
        await self._authorizer.check(actor, Action.READ_LOGS, environment.app)
        return environment

    async def app_of(self, name: str, actor: Actor) -> str:
        """The application of the preview of this name, among those that the actor may see; empty if there is
        none. Raises `Refused` (409) if several previews have the name."""
        seen = await self._authorizer.visible(actor, await self._store.read(_apps_present))
        found = await self._store.read(lambda tx: find_named(tx, seen, name))
        return found.app if found else ""

    async def deployments(
        self, environment_id: str, actor: Actor
    ) -> tuple[Environment, list[tuple[Deployment, tuple[str, ...]]]]:
        """An environment and its deployments, newest first, each with what handlers failed at.

        Raises:
            Refused: 404 unless the actor may see it.
        """
        await self.visible(environment_id, actor)
        return await self._store.read(lambda tx: _history(tx, environment_id))

    async def build_of(
        self, environment_id: str, actor: Actor, service: str = "", deployment: str = ""
    ) -> str:
        """The key of the newest build; empty if there is none.

        Args:
            service: only builds of this service; empty for that of the main one, or the one that failed.
            deployment: id or number of the only deployment whose build is meant; empty for any.

        Raises:
            Refused: 404 unless the actor may see it and it has the service and the deployment, 403 unless
                they may read its logs.
        """
        await self.readable(environment_id, actor)
        deployments = await self._store.read(lambda tx: tx.deployments(environment_id))
        chosen = [_deployment(deployments, deployment)] if deployment else deployments
        if not service:
            return next((d.build for d in chosen if d.build), "")
        name = service_name(deployments, service)
        found = (deployment.service(name) for deployment in chosen)
        return next((each.build for each in found if each and each.build), "")

    async def volumes(self, environment_id: str, actor: Actor) -> list[Volume]:
        """The named volumes, with their sizes. Expensive: it may take seconds.

        Raises:
            Refused: 404 unless the actor may see it, 403 unless they may read its logs.
            Retry: the engine doesn't answer.
        """
        return await self._instances.volumes((await self.readable(environment_id, actor)).id)

    async def log_of(
        self, environment_id: str, lines: int, actor: Actor, deployment: str = "", service: str = ""
    ) -> list[str]:
        """The last lines of the newest instance's output; if there is no instance, of the newest deployment.

        Args:
            deployment: id or number of a deployment whose last lines are wanted instead; those of its build
                if that failed.
            service: empty for the main one.

        Raises:
            Refused: 404 unless the actor may see it and it has the service and the deployment, 403 unless
                they may read its logs.
            Retry: the engine doesn't answer.
        """
        environment = await self.readable(environment_id, actor)
        deployments = await self._store.read(lambda tx: tx.deployments(environment_id))
        name = service_name(deployments, service)
        wanted = _deployment(deployments, deployment) if deployment else None
        instances = [i for i in await self._instances.find(environment.id) if i.service == name]
        newest = newest_of([i for i in instances if wanted is None or _is_of(i, wanted)])
        log = await self._instances.logs(newest.id, lines) if newest is not None else ""
        if log:  # empty also if the instance was removed meanwhile
            return log.splitlines()
        stored = wanted or next(iter(deployments), None)
        return _stored_log(stored, name).splitlines()[-lines:] if stored else []

    async def blocked(self) -> Mapping[str, list[Blocked]]:
        """Connections that the firewall has blocked, by environment; empty while the firewall doesn't answer,
        and without one."""
        found: dict[str, list[Blocked]] = {}
        if self._firewall is not None:
            with suppress(StagerError):
                for blocked in await self._firewall.blocked():
                    found.setdefault(blocked.environment, []).append(blocked)
        return found

    async def count_degraded(self, apps: Collection[str] | None) -> dict[str, int]:
        """The number of live environments with a service that isn't healthy, by application.

        Args:
            apps: only these applications; None for all.
        """
        return await self._store.read(lambda tx: _count_degraded(tx, apps))

    async def count_by_state(self, apps: Collection[str] | None) -> dict[str, int]:
        """The number of environments in each state.

        Args:
            apps: only those of these applications; None for all.
        """
        return await self._store.read(lambda tx: _count_by_state(tx, apps))


def _deployment(deployments: Iterable[Deployment], wanted: str) -> Deployment:
    """The deployment with this id or number. Raises `Refused` (404) if there is none."""
    for each in deployments:
        if wanted in {each.id, str(each.generation)}:
            return each
    raise Refused(f'This preview has no deployment "{wanted}".', reason="deployment-unknown", status=404)


def _is_of(instance: Instance, deployment: Deployment) -> bool:
    return deployment.generation in {instance.generation, *instance.generations}


def _stored_log(deployment: Deployment, service: str) -> str:
    """The last lines of a service's output that were stored when it failed or was removed."""
    found = deployment.service(service)
    if found is None or found.is_main:
        return deployment.log
    failed = deployment.attempt.failed_services.get(service)
    return failed.outcome.detail if failed and failed.outcome else ""


def _with_deployments(tx: Transaction, environment: Environment) -> Row:
    deployment = tx.deployment_of(environment.id, environment.desired.generation)
    row = _row(tx, environment, deployment, tx.environment_state(environment.id, StateKind.EXTERNAL))
    is_pinned = pin_of(tx, environment.id).pinned
    last_visit = visits_of(tx, environment.id).last
    return replace(row, notice=notice_of(tx, environment), is_pinned=is_pinned, last_visit=last_visit)


def _with_rollback(tx: Transaction, environment: Environment) -> Row:
    row, current = _with_deployments(tx, environment), current_content(tx, environment)
    if current is None or not environment.desired.keeps_instances:
        return row
    earlier = earlier_revisions(tx.deployments(environment.id), current)
    return replace(row, rollback=next(iter(earlier), None))


def _all(tx: Transaction, *, app: str, gone: bool) -> list[Row]:
    pairs = tx.environments_with_deployments(present=None if gone else True)
    external = tx.environment_states(StateKind.EXTERNAL)
    notices, pinned = notices_of(tx), {id_ for id_, pin in pins(tx).items() if pin.pinned}
    visits = all_visits(tx)
    return [
        replace(
            _row(tx, environment, deployment, external.get(environment.id, "")),
            notice=notices.get(environment.id),
            is_pinned=environment.id in pinned,
            last_visit=visits.get(environment.id, Visits()).last,
        )
        for environment, deployment in pairs
        if app in ("", environment.app)
    ]


def _row(tx: Transaction, environment: Environment, deployment: Deployment | None, external: str) -> Row:
    serving = _serving(tx, environment)
    services = _services(tx, environment, deployment, serving)
    return Row(environment, deployment, NOTHING, serving, services, problems_of(external))


def _services(
    tx: Transaction, environment: Environment, deployment: Deployment | None, serving: Deployment | None
) -> tuple[ServiceStatus, ...]:
    shown = deployment if deployment and deployment.services else serving
    if shown is None:
        return ()
    earlier = None
    if any(service.is_kept for service in shown.services):
        before = (d for d in tx.deployments(environment.id) if d.generation < shown.generation and d.services)
        earlier = next(before, None)
    return service_statuses(environment, shown, earlier)


def _serving(tx: Transaction, environment: Environment) -> Deployment | None:
    """The deployment that visitors see, if it isn't the one of the desired generation."""
    if environment.serving in (None, environment.desired.generation):
        return None
    return tx.deployment_of(environment.id, environment.serving)


def _history(
    tx: Transaction, environment_id: str
) -> tuple[Environment, list[tuple[Deployment, tuple[str, ...]]]]:
    environment = existing(tx, environment_id)
    return environment, [
        (deployment, notes_of(tx, environment_id, deployment.generation))
        for deployment in tx.deployments(environment_id)
    ]


def _apps_present(tx: Transaction) -> frozenset[str]:
    """The applications that have previews, including those that are no longer in the configuration."""
    return frozenset(environment.app for environment in tx.environments(present=True))


def _count_by_state(tx: Transaction, apps: Collection[str] | None) -> dict[str, int]:
    counts: dict[str, int] = {}
    for environment, deployment in tx.environments_with_deployments():
        if apps is None or environment.app in apps:
            state = status_of(environment, deployment).state.value
            counts[state] = counts.get(state, 0) + 1
    return counts


def _count_degraded(tx: Transaction, apps: Collection[str] | None) -> dict[str, int]:
    return Counter(
        environment.app
        for environment, deployment in tx.environments_with_deployments(present=True)
        if (apps is None or environment.app in apps)
        and status_of(environment, deployment).state is State.DEGRADED
    )
