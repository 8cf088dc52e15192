"""An in-memory store for tests, and the shortest description of what a store does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import TypeVar

from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, EnvironmentKey
from stager.domain.identity.accounts import ShareLink
from stager.domain.pull_requests.events import Delivery
from stager.domain.snapshot import Snapshot
from stager.domain.source import Change, Repository
from stager.ports.store import (
    MAX_DELIVERIES,
    MAX_PAYLOAD,
    MAX_PAYLOADS,
    DeliveryRecord,
    RefusedDeliveries,
    SeenRepository,
    SetAsideDelivery,
    StateKind,
    StoredDelivery,
)
from stager.testing.fakes.accounts import AccountTables, MemoryAccountRecords

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class MemoryStore:
    """A `stager.ports.store.Store` in memory.

    A transaction runs in the calling task, after other tasks had a turn, as with a real store.
    """

    def __init__(self) -> None:
        self._tables = _Tables()
        self._closed = False

    async def read(self, work: Callable[[MemoryTransaction], T]) -> T:
        """Run `work`. Raises RuntimeError when it tries to write, or the store is closed."""
        await self._turn()
        return work(MemoryTransaction(self._tables, writable=False))

    async def write(self, work: Callable[[MemoryTransaction], T]) -> T:
        """Run `work` on a copy, which replaces the tables when it succeeds.

        Raises:
            RuntimeError: the store is closed.
        """
        await self._turn()
        tables = self._tables.copy()
        result = work(MemoryTransaction(tables, writable=True))
        self._tables = tables
        return result

    async def close(self) -> None:
        self._closed = True

    async def _turn(self) -> None:
        await asyncio.sleep(0)
        if self._closed:
            raise RuntimeError("the store is closed")


@dataclass(frozen=True, slots=True)
class _Receipt:
    """A delivery with its times, outcome and number of attempts."""

    delivery: Delivery
    received_at: datetime
    finished_at: datetime | None = None
    outcome: str = ""
    about: str = ""
    attempts: int = 0
    is_set_aside: bool = False

    @property
    def record(self) -> DeliveryRecord:
        one = self.delivery
        return DeliveryRecord(
            one.forge,
            one.id,
            one.event,
            self.about,
            self.received_at,
            self.finished_at,
            self.outcome,
            self.is_set_aside,
        )

    def was_finished(self, before: datetime) -> bool:
        return self.finished_at is not None and self.finished_at < before


@dataclass(frozen=True, slots=True)
class _Tables(AccountTables):
    """All records by key, in the order of their first insert."""

    environments: dict[str, Environment] = field(default_factory=dict)
    deployments: dict[str, Deployment] = field(default_factory=dict)
    receipts: dict[tuple[str, str], _Receipt] = field(default_factory=dict)
    refused: dict[tuple[str, str], RefusedDeliveries] = field(default_factory=dict)
    changes: dict[tuple[str, int], Change] = field(default_factory=dict)
    repositories: dict[tuple[str, str], SeenRepository] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    processed_events: dict[tuple[str, str], datetime] = field(default_factory=dict)
    state: dict[tuple[str, StateKind], str] = field(default_factory=dict)
    service_hosts: dict[str, tuple[str, str]] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)

    def copy(self) -> _Tables:
        return _Tables(*(dict(getattr(self, f.name)) for f in fields(self)))


class MemoryTransaction(MemoryAccountRecords):
    """A `stager.ports.store.Transaction` on tables that only this transaction changes."""

    def __init__(self, tables: _Tables, *, writable: bool) -> None:
        super().__init__(tables, writable=writable)
        self._tables = tables

    def environment(self, environment_id: str) -> Environment | None:
        return self._tables.environments.get(environment_id)

    def environment_by_key(self, key: EnvironmentKey) -> Environment | None:
        return next((e for e in self.environments() if e.key == key), None)

    def environment_by_host(self, host: str) -> Environment | None:
        found = [e for e in self._tables.environments.values() if e.host == host]
        found.reverse()  # Among equals, `max` takes the first.
        own = max(found, key=lambda e: (e.desired.is_present, e.updated_at), default=None)
        holder, _ = self._tables.service_hosts.get(host, ("", ""))
        of_service = self.environment(holder)
        if own is None or (of_service and of_service.desired.is_present and not own.desired.is_present):
            return of_service
        return own

    def service_hosts(self, environment_id: str) -> dict[str, str]:
        return self.all_service_hosts().get(environment_id, {})

    def all_service_hosts(self) -> dict[str, dict[str, str]]:
        hosts: dict[str, dict[str, str]] = {}
        for host, (environment_id, service) in self._tables.service_hosts.items():
            hosts.setdefault(environment_id, {})[service] = host
        return hosts

    def save_service_hosts(self, environment_id: str, hosts: Mapping[str, str]) -> None:
        tables = self._to_write
        if environment_id not in tables.environments:
            raise ValueError(f"there is no environment {environment_id}")
        for host in hosts.values():
            holder = self.environment_by_host(host)
            if holder is not None and holder.id != environment_id and holder.desired.is_present:
                raise ValueError(f"another present environment has the host {host}")
        _drop_service_hosts(tables, environment_id)
        tables.service_hosts.update({host: (environment_id, service) for service, host in hosts.items()})

    def environments(self, *, present: bool | None = None) -> list[Environment]:
        found = (e for e in self._tables.environments.values() if present in (None, e.desired.is_present))
        return sorted(found, key=attrgetter("created_at"))

    def environments_of(self, subject: str) -> list[Environment]:
        return [e for e in self.environments(present=True) if e.key.subject == subject]

    def environments_with_deployments(
        self, *, present: bool | None = None
    ) -> list[tuple[Environment, Deployment | None]]:
        return [
            (e, self.deployment_of(e.id, e.desired.generation)) for e in self.environments(present=present)
        ]

    def environments_being_served(self) -> list[tuple[Environment, Deployment | None]]:
        return [
            (e, self.deployment_of(e.id, e.serving)) for e in self.environments() if e.serving is not None
        ]

    def save_environment(self, environment: Environment) -> None:
        rows = self._to_write.environments
        others = [e for e in rows.values() if e.id != environment.id]
        owner, _ = self._to_write.service_hosts.get(environment.host, ("", ""))
        holders = [e for e in others if environment.host == e.host or e.id == owner]
        if environment.desired.is_present and any(e.desired.is_present for e in holders):
            raise ValueError(f"another present environment has the host {environment.host}")
        if any(e.key == environment.key for e in others):
            raise ValueError(f"another environment has the key {environment.key}")
        parameters = dict(environment.desired.parameters)
        rows[environment.id] = replace(
            environment, desired=replace(environment.desired, parameters=parameters)
        )

    def environment_state(self, environment_id: str, kind: StateKind) -> str:
        return self._tables.state.get((environment_id, kind), "")

    def save_environment_state(self, environment_id: str, kind: StateKind, value: str) -> None:
        tables = self._to_write
        if not value:
            tables.state.pop((environment_id, kind), None)
        elif environment_id in tables.environments:
            tables.state[environment_id, kind] = value

    def environment_states(self, kind: StateKind) -> dict[str, str]:
        return {environment: value for (environment, of), value in self._tables.state.items() if of == kind}

    def deployment(self, deployment_id: str) -> Deployment | None:
        return self._tables.deployments.get(deployment_id)

    def deployment_of(self, environment_id: str, generation: int) -> Deployment | None:
        return next((d for d in self.deployments(environment_id) if d.generation == generation), None)

    def deployments(self, environment_id: str) -> list[Deployment]:
        own = (d for d in self._tables.deployments.values() if d.environment_id == environment_id)
        return sorted(own, key=attrgetter("generation"), reverse=True)

    def all_deployments(self) -> list[Deployment]:
        return list(self._tables.deployments.values())

    def save_deployment(self, deployment: Deployment) -> None:
        tables, environment_id = self._to_write, deployment.environment_id
        if environment_id not in tables.environments:
            raise ValueError(f"there is no environment {environment_id}")
        other = self.deployment_of(environment_id, deployment.generation)
        if other is not None and other.id != deployment.id:
            raise ValueError(
                f"another deployment of {environment_id} has the generation {deployment.generation}"
            )
        tables.deployments[deployment.id] = deployment

    def add_delivery(self, delivery: Delivery, at: datetime) -> bool:
        receipts, key = self._to_write.receipts, (delivery.forge, delivery.id)
        if key in receipts and not receipts[key].is_set_aside:
            return False
        receipts.pop(key, None)
        receipts[key] = _Receipt(delivery, at)
        return True

    def next_delivery(self) -> Delivery | None:
        waiting = (r.delivery for r in self._tables.receipts.values() if r.finished_at is None)
        return next(waiting, None)

    def begin_delivery(self, delivery: Delivery) -> int:
        receipts, key = self._to_write.receipts, (delivery.forge, delivery.id)
        if key not in receipts or receipts[key].finished_at is not None:
            return 0
        receipts[key] = replace(receipts[key], attempts=receipts[key].attempts + 1)
        return receipts[key].attempts

    def release_delivery(self, delivery: Delivery) -> None:
        receipts, key = self._to_write.receipts, (delivery.forge, delivery.id)
        if key in receipts:
            receipts[key] = replace(receipts[key], attempts=max(receipts[key].attempts - 1, 0))

    def finish_delivery(self, delivery: Delivery, outcome: str, at: datetime, about: str = "") -> None:
        self._finish(delivery, outcome, at, about, is_set_aside=False)

    def set_delivery_aside(self, delivery: Delivery, outcome: str, at: datetime) -> None:
        self._finish(delivery, outcome, at, is_set_aside=True)

    def _finish(
        self, delivery: Delivery, outcome: str, at: datetime, about: str = "", *, is_set_aside: bool
    ) -> None:
        receipts, key = self._to_write.receipts, (delivery.forge, delivery.id)
        if key in receipts:
            ended = replace(receipts[key], finished_at=at, outcome=outcome, about=about, attempts=0)
            payload = delivery.payload if len(delivery.payload) <= MAX_PAYLOAD else ""
            kept = replace(ended.delivery, payload=payload)
            receipts[key] = replace(ended, delivery=kept, is_set_aside=is_set_aside)
            _discard_payloads(receipts)

    def deliveries_set_aside(self) -> list[SetAsideDelivery]:
        return [
            SetAsideDelivery(r.delivery.forge, r.delivery.id, r.delivery.event, r.finished_at, r.outcome)
            for r in self._tables.receipts.values()
            if r.is_set_aside and r.finished_at is not None
        ]

    def recent_deliveries(self, limit: int, search: str = "") -> list[DeliveryRecord]:
        newest = (receipt.record for receipt in reversed(self._tables.receipts.values()))
        return [one for one in newest if _is_in(search, one)][:limit]

    def stored_deliveries(self, delivery_id: str) -> list[StoredDelivery]:
        newest = reversed(self._tables.receipts.values())
        return [StoredDelivery(r.record, r.delivery.payload) for r in newest if r.delivery.id == delivery_id]

    def count_refused(self, refused: RefusedDeliveries) -> None:
        counts, key = self._to_write.refused, (refused.forge, refused.reason)
        before = counts[key].count if key in counts else 0
        counts[key] = replace(refused, count=before + refused.count)

    def refused_deliveries(self) -> list[RefusedDeliveries]:
        by_name = sorted(self._tables.refused.values(), key=attrgetter("forge", "reason"))
        return sorted(by_name, key=attrgetter("at"), reverse=True)

    def is_processed(self, repository_id: str, event: str) -> bool:
        return (repository_id, event) in self._tables.processed_events

    def mark_processed(self, repository_id: str, event: str, at: datetime) -> bool:
        events, key = self._to_write.processed_events, (repository_id, event)
        if key in events:
            return False
        events[key] = at
        return True

    def change(self, repository_id: str, number: int) -> Change | None:
        return self._tables.changes.get((repository_id, number))

    def open_changes(self, repository_id: str) -> list[Change]:
        own = (c for c in self._tables.changes.values() if c.repository.id == repository_id and c.is_open)
        return sorted(own, key=attrgetter("number"))

    def save_change(self, change: Change) -> None:
        self._to_write.changes[change.repository.id, change.number] = change

    def repositories(self) -> list[SeenRepository]:
        return [seen for _, seen in sorted(self._tables.repositories.items(), key=itemgetter(0))]

    def save_repository(self, app: str, repository: Repository) -> None:
        self._to_write.repositories[app, repository.id] = SeenRepository(app, repository)

    def snapshot(self, snapshot_id: str) -> Snapshot | None:
        return self._tables.snapshots.get(snapshot_id)

    def snapshots(self, app: str | None = None) -> list[Snapshot]:
        found = (each for each in self._tables.snapshots.values() if app in (None, each.app))
        by_number = sorted(found, key=attrgetter("number"), reverse=True)
        return sorted(by_number, key=attrgetter("app"))

    def save_snapshot(self, snapshot: Snapshot) -> None:
        rows = self._to_write.snapshots
        others = (each for each in rows.values() if each.id != snapshot.id)
        if any((each.app, each.number) == (snapshot.app, snapshot.number) for each in others):
            raise ValueError(f"another snapshot of {snapshot.app} has the number {snapshot.number}")
        rows[snapshot.id] = snapshot

    def delete_snapshot(self, snapshot_id: str) -> None:
        self._to_write.snapshots.pop(snapshot_id, None)

    def fact(self, name: str) -> str:
        return self._tables.facts.get(name, "")

    def save_fact(self, name: str, value: str) -> None:
        self._to_write.facts[name] = value

    def save_share_link(self, link: ShareLink) -> None:
        if link.environment_id not in self._to_write.environments:
            raise ValueError(f"there is no environment {link.environment_id}")
        super().save_share_link(link)

    def delete_expired(
        self,
        before: datetime,
        *,
        deliveries_before: datetime | None = None,
        max_deliveries: int = MAX_DELIVERIES,
    ) -> int:
        finished_before = deliveries_before or before
        tables = self._to_write
        kept = self.environment_states(StateKind.EXTERNAL)
        absent = (e for e in self.environments(present=False) if e.id not in kept)
        environments = [e.id for e in absent if e.updated_at < before]
        events = [key for key, at in tables.processed_events.items() if at < finished_before]
        surplus = list(tables.receipts)[: max(0, len(tables.receipts) - max_deliveries)]
        receipts = [
            key
            for key, receipt in tables.receipts.items()
            if receipt.was_finished(finished_before) or (key in surplus and receipt.finished_at is not None)
        ]
        refused = [key for key, one in tables.refused.items() if one.at < finished_before]
        sessions = [s.id for s in tables.sessions.values() if s.expires_at < before]
        for environment in environments:
            _delete_environment(tables, environment)
        links = [link.id for link in tables.share_links.values() if link.expires_at < before]
        return (
            len(environments)
            + _drop(tables.receipts, receipts)
            + _drop(tables.refused, refused)
            + _drop(tables.processed_events, events)
            + _drop(tables.sessions, sessions)
            + _drop(tables.share_links, links)
        )

    @property
    def _to_write(self) -> _Tables:
        if not self._writable:
            raise RuntimeError("a read must not write; use Store.write")
        return self._tables


def _discard_payloads(receipts: dict[tuple[str, str], _Receipt]) -> None:
    """Discard the payloads of finished deliveries that aren't among the newest `MAX_PAYLOADS`."""
    for key in list(receipts)[:-MAX_PAYLOADS]:
        if (found := receipts[key]).finished_at is not None:
            receipts[key] = replace(found, delivery=replace(found.delivery, payload=""))


def _is_in(search: str, one: DeliveryRecord) -> bool:
    text = f"{one.delivery} {one.event} {one.about} {one.outcome}"
    return _lower(search) in _lower(text)


def _lower(text: str) -> str:
    """ASCII letters only, as SQLite does."""
    return "".join(each.lower() if each.isascii() else each for each in text)


def _delete_environment(tables: _Tables, environment: str) -> None:
    """Delete an environment and all that belongs to it."""
    del tables.environments[environment]
    deployments = [d.id for d in tables.deployments.values() if d.environment_id == environment]
    links = [link.id for link in tables.share_links.values() if link.environment_id == environment]
    _drop(tables.deployments, deployments)
    _drop(tables.share_links, links)
    _drop(tables.state, [key for key in tables.state if key[0] == environment])
    _drop_service_hosts(tables, environment)


def _drop_service_hosts(tables: _Tables, environment: str) -> None:
    hosts = [host for host, (holder, _) in tables.service_hosts.items() if holder == environment]
    _drop(tables.service_hosts, hosts)


def _drop(rows: dict[K, V], keys: Collection[K]) -> int:
    for key in keys:
        del rows[key]
    return len(keys)
