"""A transaction's reads and writes in SQL. The connection keeps each statement prepared."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, EnvironmentKey, RunState
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
from stager.stores.sqlite.accounts import SqliteAccountRecords
from stager.stores.sqlite.rows import (
    ChangeRow,
    DeliveryRow,
    DeploymentRow,
    EnvironmentRow,
    RefusedRow,
    RepositoryRow,
    SnapshotRow,
    change_of,
    change_row,
    delivery_of,
    delivery_record_of,
    delivery_row,
    deployment_of,
    deployment_row,
    environment_of,
    environment_row,
    moment,
    pair_of,
    refused_of,
    refused_row,
    repository_of,
    repository_row,
    snapshot_of,
    snapshot_row,
    stamp,
)
from stager.stores.sqlite.statements import columns_of, insert, select, upsert

_SEEN_COLUMNS = columns_of("environments", EnvironmentRow)
_ENVIRONMENT_COLUMNS = f"SELECT {_SEEN_COLUMNS} FROM environments"
_OLDEST_FIRST = "ORDER BY environments.created_at, environments.seq"
_IS_PRESENT = f"environments.run <> '{RunState.ABSENT.value}'"
_PRESENCE = {None: "", True: f"WHERE {_IS_PRESENT}", False: f"WHERE NOT ({_IS_PRESENT})"}

_ENVIRONMENTS = {p: f"{_ENVIRONMENT_COLUMNS} {where} {_OLDEST_FIRST}" for p, where in _PRESENCE.items()}
"""By presence."""
_ENVIRONMENTS_OF = f"{_ENVIRONMENT_COLUMNS} WHERE subject = :subject AND {_IS_PRESENT} {_OLDEST_FIRST}"
_ENVIRONMENT = f"{_ENVIRONMENT_COLUMNS} WHERE id = :id"
_ENVIRONMENT_BY_KEY = f"{_ENVIRONMENT_COLUMNS} WHERE app = :app AND subject = :subject"
_SAVE_ENVIRONMENT = upsert("environments", EnvironmentRow._fields, "id")

_ENVIRONMENT_BY_HOST = f"{_ENVIRONMENT_COLUMNS} WHERE host = :host AND {_IS_PRESENT}"
_LAST_ENVIRONMENT_BY_HOST = (
    f"{_ENVIRONMENT_COLUMNS} WHERE host = :host ORDER BY updated_at DESC, seq DESC LIMIT 1"
)
_BY_SERVICE_HOST = (
    f"{_ENVIRONMENT_COLUMNS} JOIN service_hosts ON service_hosts.environment_id = environments.id"
    " WHERE service_hosts.host = :host"
)
_PRESENT_BY_SERVICE_HOST = f"{_BY_SERVICE_HOST} AND {_IS_PRESENT}"
_BY_HOST = (
    _ENVIRONMENT_BY_HOST,
    _PRESENT_BY_SERVICE_HOST,
    _LAST_ENVIRONMENT_BY_HOST,
    _BY_SERVICE_HOST,
)
"""In this order: the first that finds one decides."""
_ALL_SERVICE_HOSTS = "SELECT environment_id, service, host FROM service_hosts"
_SERVICE_HOSTS = f"{_ALL_SERVICE_HOSTS} WHERE environment_id = :environment_id"
_DROP_SERVICE_HOSTS = "DELETE FROM service_hosts WHERE environment_id = :environment_id"
_SAVE_SERVICE_HOST = upsert("service_hosts", ("host", "environment_id", "service"), "host")


def _pairs(generation: str) -> str:
    """Environments, each with its deployment of this generation."""
    return (
        f"SELECT {_SEEN_COLUMNS}, {columns_of('deployments', DeploymentRow)} FROM environments"
        " LEFT JOIN deployments ON deployments.environment_id = environments.id"
        f" AND deployments.generation = {generation}"
    )


_WITH_DEPLOYMENT = {
    p: f"{_pairs('environments.generation')} {where} {_OLDEST_FIRST}" for p, where in _PRESENCE.items()
}
"""By presence."""
_BEING_SERVED = f"{_pairs('environments.serving')} WHERE environments.serving IS NOT NULL {_OLDEST_FIRST}"

_STATE = "SELECT value FROM environment_state WHERE environment_id = :environment_id AND kind = :kind"
_STATES = "SELECT environment_id, value FROM environment_state WHERE kind = :kind"
_SAVE_STATE = """
    INSERT INTO environment_state (environment_id, kind, value)
    SELECT id, :kind, :value FROM environments WHERE id = :environment_id
    ON CONFLICT (environment_id, kind) DO UPDATE SET value = excluded.value
"""
_DELETE_STATE = "DELETE FROM environment_state WHERE environment_id = :environment_id AND kind = :kind"

_ALL_DEPLOYMENTS = select("deployments", DeploymentRow._fields)
_DEPLOYMENT = f"{_ALL_DEPLOYMENTS} WHERE id = :id"
_DEPLOYMENTS = f"{_ALL_DEPLOYMENTS} WHERE environment_id = :environment_id ORDER BY generation DESC"
_DEPLOYMENT_OF = f"{_ALL_DEPLOYMENTS} WHERE environment_id = :environment_id AND generation = :generation"
_SAVE_DEPLOYMENT = upsert("deployments", DeploymentRow._fields, "id")

_ADD_DELIVERY = (
    insert("deliveries", (*DeliveryRow._fields, "received_at")) + " ON CONFLICT (forge, id) DO NOTHING"
)
_NEXT_DELIVERY = select("deliveries", DeliveryRow._fields) + " WHERE finished_at IS NULL ORDER BY seq LIMIT 1"
_FINISH_DELIVERY = """
    UPDATE deliveries
    SET outcome = :outcome, finished_at = :at,
    about = coalesce(:about, about), payload = coalesce(:payload, payload)
    WHERE forge = :forge AND id = :id
"""
_DROP_DELIVERY = "DELETE FROM deliveries WHERE forge = :forge AND id = :id"
# The sub-query searches the table in its own order, 501 rows of it. The condition on the payload is of
# the index `ix_deliveries_payload`.
_DISCARD_PAYLOADS = f"""
    UPDATE deliveries SET payload = ''
    WHERE seq <= (SELECT seq FROM deliveries WHERE seq > 0 ORDER BY seq DESC LIMIT 1 OFFSET {MAX_PAYLOADS})
    AND finished_at IS NOT NULL AND payload <> ''
"""

_BEGIN_DELIVERY = """
    INSERT INTO delivery_attempts (forge, delivery_id, count)
    SELECT forge, id, 1 FROM deliveries WHERE forge = :forge AND id = :id AND finished_at IS NULL
    ON CONFLICT (forge, delivery_id) DO UPDATE SET count = count + 1
    RETURNING count
"""
_RELEASE_DELIVERY = """
    UPDATE delivery_attempts SET count = count - 1
    WHERE forge = :forge AND delivery_id = :id AND count > 0
"""
_END_ATTEMPTS = "DELETE FROM delivery_attempts WHERE forge = :forge AND delivery_id = :id"
_IS_SET_ASIDE = "SELECT count FROM delivery_attempts WHERE forge = :forge AND delivery_id = :id AND set_aside"
_SET_DELIVERY_ASIDE = upsert(
    "delivery_attempts", ("forge", "delivery_id", "count", "set_aside"), "forge", "delivery_id"
)
_WITH_ATTEMPTS = """
    JOIN delivery_attempts
    ON delivery_attempts.forge = deliveries.forge AND delivery_attempts.delivery_id = deliveries.id
"""
_SET_ASIDE = f"""
    SELECT deliveries.forge, id, event, finished_at, outcome FROM deliveries {_WITH_ATTEMPTS}
    WHERE set_aside ORDER BY seq
"""

_LISTED = "deliveries.forge, id, event, about, received_at, finished_at, outcome, set_aside"
_RECENT_DELIVERIES = f"""
    SELECT {_LISTED} FROM deliveries LEFT {_WITH_ATTEMPTS} ORDER BY seq DESC LIMIT :limit
"""
_FOUND_DELIVERIES = f"""
    SELECT {_LISTED} FROM deliveries LEFT {_WITH_ATTEMPTS}
    WHERE instr(lower(id || ' ' || event || ' ' || about || ' ' || coalesce(outcome, '')), :search) > 0
    ORDER BY seq DESC LIMIT :limit
"""
_STORED_DELIVERIES = f"""
    SELECT {_LISTED}, payload FROM deliveries LEFT {_WITH_ATTEMPTS} WHERE id = :id ORDER BY seq DESC
"""
_REFUSED_DELIVERIES = select("refused_deliveries", RefusedRow._fields) + " ORDER BY at DESC, forge, reason"
_COUNT_REFUSED = f"""
    {insert("refused_deliveries", RefusedRow._fields)} ON CONFLICT (forge, reason) DO UPDATE
    SET total = total + excluded.total, at = excluded.at, message = excluded.message, hint = excluded.hint
"""

_IS_PROCESSED = "SELECT at FROM processed_events WHERE repository_id = :repository_id AND event = :event"
_MARK_PROCESSED = (
    insert("processed_events", ("repository_id", "event", "at"))
    + " ON CONFLICT (repository_id, event) DO NOTHING"
)

_CHANGES = select("changes", ChangeRow._fields) + " WHERE repository_id = :repository_id"
_CHANGE = f"{_CHANGES} AND number = :number"
_OPEN_CHANGES = f"{_CHANGES} AND is_open = 1 ORDER BY number"
_SAVE_CHANGE = upsert("changes", ChangeRow._fields, "repository_id", "number")

_REPOSITORIES = select("repositories", RepositoryRow._fields) + " ORDER BY app, repository_id"
_SAVE_REPOSITORY = upsert("repositories", RepositoryRow._fields, "app", "repository_id")

_SNAPSHOT_COLUMNS = select("snapshots", SnapshotRow._fields)
_SNAPSHOT = f"{_SNAPSHOT_COLUMNS} WHERE id = :id"
_ALL_SNAPSHOTS = f"{_SNAPSHOT_COLUMNS} ORDER BY app, number DESC"
_SNAPSHOTS = f"{_SNAPSHOT_COLUMNS} WHERE app = :app ORDER BY number DESC"
_SAVE_SNAPSHOT = upsert("snapshots", SnapshotRow._fields, "id")
_DELETE_SNAPSHOT = "DELETE FROM snapshots WHERE id = :id"

_FACT = "SELECT value FROM facts WHERE name = :name"
_SAVE_FACT = upsert("facts", ("name", "value"), "name")

_DELETE_EXPIRED = (
    "DELETE FROM deliveries WHERE finished_at < :deliveries_before",
    """
    DELETE FROM deliveries
    WHERE finished_at IS NOT NULL AND seq <= (SELECT max(seq) FROM deliveries) - :max_deliveries
    """,
    "DELETE FROM refused_deliveries WHERE at < :deliveries_before",
    "DELETE FROM processed_events WHERE at < :deliveries_before",
    f"""
    DELETE FROM environments WHERE NOT ({_IS_PRESENT}) AND updated_at < :before
    AND id NOT IN (SELECT environment_id FROM environment_state WHERE kind = '{StateKind.EXTERNAL.value}')
    """,
    "DELETE FROM sessions WHERE expires_at < :before",
    "DELETE FROM share_links WHERE expires_at < :before",
)
"""What belongs to an environment is deleted by cascade."""


class SqliteTransaction(SqliteAccountRecords):
    """A `stager.ports.store.Transaction` on a connection with an open transaction."""

    def environment(self, environment_id: str) -> Environment | None:
        return self._first(_ENVIRONMENT, environment_of, id=environment_id)

    def environment_by_key(self, key: EnvironmentKey) -> Environment | None:
        return self._first(_ENVIRONMENT_BY_KEY, environment_of, app=key.app, subject=key.subject)

    def environment_by_host(self, host: str) -> Environment | None:
        found = (self._first(statement, environment_of, host=host) for statement in _BY_HOST)
        return next(filter(None, found), None)

    def service_hosts(self, environment_id: str) -> dict[str, str]:
        found = self._all(_SERVICE_HOSTS, tuple, environment_id=environment_id)
        return {service: host for _, service, host in found}

    def all_service_hosts(self) -> dict[str, dict[str, str]]:
        hosts: dict[str, dict[str, str]] = {}
        for environment_id, service, host in self._all(_ALL_SERVICE_HOSTS, tuple):
            hosts.setdefault(environment_id, {})[service] = host
        return hosts

    def save_service_hosts(self, environment_id: str, hosts: Mapping[str, str]) -> None:
        if self.environment(environment_id) is None:
            raise ValueError(f"there is no environment {environment_id}")
        for host in hosts.values():
            holder = self.environment_by_host(host)
            if holder is not None and holder.id != environment_id and holder.desired.is_present:
                raise ValueError(f"another present environment has the host {host}")
        self._change(_DROP_SERVICE_HOSTS, {"environment_id": environment_id})
        for service, host in hosts.items():
            row = {"host": host, "environment_id": environment_id, "service": service}
            self._change(_SAVE_SERVICE_HOST, row)

    def environments(self, *, present: bool | None = None) -> list[Environment]:
        return self._all(_ENVIRONMENTS[present], environment_of)

    def environments_of(self, subject: str) -> list[Environment]:
        return self._all(_ENVIRONMENTS_OF, environment_of, subject=subject)

    def environments_with_deployments(
        self, *, present: bool | None = None
    ) -> list[tuple[Environment, Deployment | None]]:
        return self._all(_WITH_DEPLOYMENT[present], pair_of)

    def environments_being_served(self) -> list[tuple[Environment, Deployment | None]]:
        return self._all(_BEING_SERVED, pair_of)

    def save_environment(self, environment: Environment) -> None:
        if environment.desired.is_present:
            holder = self._first(_PRESENT_BY_SERVICE_HOST, environment_of, host=environment.host)
            if holder is not None and holder.id != environment.id:
                raise ValueError(f"another present environment has the host {environment.host}")
        try:
            self._change(_SAVE_ENVIRONMENT, environment_row(environment)._asdict())
        except sqlite3.IntegrityError as error:
            raise ValueError(_environment_clash(environment, error)) from error

    def environment_state(self, environment_id: str, kind: StateKind) -> str:
        return self._first(_STATE, _text_of, environment_id=environment_id, kind=kind.value) or ""

    def save_environment_state(self, environment_id: str, kind: StateKind, value: str) -> None:
        row = {"environment_id": environment_id, "kind": kind.value}
        if value:
            self._change(_SAVE_STATE, {**row, "value": value})
        else:
            self._change(_DELETE_STATE, row)

    def environment_states(self, kind: StateKind) -> dict[str, str]:
        return dict(self._all(_STATES, _pair_of, kind=kind.value))

    def deployment(self, deployment_id: str) -> Deployment | None:
        return self._first(_DEPLOYMENT, deployment_of, id=deployment_id)

    def deployment_of(self, environment_id: str, generation: int) -> Deployment | None:
        return self._first(
            _DEPLOYMENT_OF, deployment_of, environment_id=environment_id, generation=generation
        )

    def deployments(self, environment_id: str) -> list[Deployment]:
        return self._all(_DEPLOYMENTS, deployment_of, environment_id=environment_id)

    def all_deployments(self) -> list[Deployment]:
        return self._all(_ALL_DEPLOYMENTS, deployment_of)

    def save_deployment(self, deployment: Deployment) -> None:
        try:
            self._change(_SAVE_DEPLOYMENT, deployment_row(deployment)._asdict())
        except sqlite3.IntegrityError as error:
            raise ValueError(_deployment_clash(deployment, error)) from error

    def add_delivery(self, delivery: Delivery, at: datetime) -> bool:
        row = {**delivery_row(delivery)._asdict(), "received_at": stamp(at)}
        if self._change(_ADD_DELIVERY, row) == 1:
            return True
        if self._first(_IS_SET_ASIDE, bool, **_key(delivery)) is None:
            return False
        self._change(_DROP_DELIVERY, _key(delivery))
        return self._change(_ADD_DELIVERY, row) == 1

    def next_delivery(self) -> Delivery | None:
        return self._first(_NEXT_DELIVERY, delivery_of)

    def begin_delivery(self, delivery: Delivery) -> int:
        return self._changed(_BEGIN_DELIVERY, _key(delivery)) or 0

    def release_delivery(self, delivery: Delivery) -> None:
        self._change(_RELEASE_DELIVERY, _key(delivery))

    def finish_delivery(self, delivery: Delivery, outcome: str, at: datetime, about: str = "") -> None:
        if self._finish(delivery, outcome, at, about):
            self._change(_END_ATTEMPTS, _key(delivery))
            self._change(_DISCARD_PAYLOADS, {})

    def set_delivery_aside(self, delivery: Delivery, outcome: str, at: datetime) -> None:
        if self._finish(delivery, outcome, at):
            row = {"forge": delivery.forge, "delivery_id": delivery.id, "count": 0, "set_aside": True}
            self._change(_SET_DELIVERY_ASIDE, row)
            self._change(_DISCARD_PAYLOADS, {})

    def _finish(self, delivery: Delivery, outcome: str, at: datetime, about: str | None = None) -> bool:
        """Returns whether there is such a delivery. Payloads that are too long to be kept are dropped."""
        payload = None if len(delivery.payload) <= MAX_PAYLOAD else ""
        ending = {"outcome": outcome, "at": stamp(at), "about": about, "payload": payload}
        return self._change(_FINISH_DELIVERY, {**_key(delivery), **ending}) > 0

    def deliveries_set_aside(self) -> list[SetAsideDelivery]:
        return self._all(_SET_ASIDE, _set_aside_of)

    def recent_deliveries(self, limit: int, search: str = "") -> list[DeliveryRecord]:
        if not search:
            return self._all(_RECENT_DELIVERIES, delivery_record_of, limit=limit)
        return self._all(_FOUND_DELIVERIES, delivery_record_of, limit=limit, search=_lower(search))

    def stored_deliveries(self, delivery_id: str) -> list[StoredDelivery]:
        return self._all(_STORED_DELIVERIES, _stored_delivery_of, id=delivery_id)

    def count_refused(self, refused: RefusedDeliveries) -> None:
        self._change(_COUNT_REFUSED, refused_row(refused)._asdict())

    def refused_deliveries(self) -> list[RefusedDeliveries]:
        return self._all(_REFUSED_DELIVERIES, refused_of)

    def is_processed(self, repository_id: str, event: str) -> bool:
        return self._first(_IS_PROCESSED, bool, repository_id=repository_id, event=event) is not None

    def mark_processed(self, repository_id: str, event: str, at: datetime) -> bool:
        row = {"repository_id": repository_id, "event": event, "at": stamp(at)}
        return self._change(_MARK_PROCESSED, row) == 1

    def change(self, repository_id: str, number: int) -> Change | None:
        return self._first(_CHANGE, change_of, repository_id=repository_id, number=number)

    def open_changes(self, repository_id: str) -> list[Change]:
        return self._all(_OPEN_CHANGES, change_of, repository_id=repository_id)

    def save_change(self, change: Change) -> None:
        self._change(_SAVE_CHANGE, change_row(change)._asdict())

    def repositories(self) -> list[SeenRepository]:
        return self._all(_REPOSITORIES, repository_of)

    def save_repository(self, app: str, repository: Repository) -> None:
        self._change(_SAVE_REPOSITORY, repository_row(app, repository)._asdict())

    def snapshot(self, snapshot_id: str) -> Snapshot | None:
        return self._first(_SNAPSHOT, snapshot_of, id=snapshot_id)

    def snapshots(self, app: str | None = None) -> list[Snapshot]:
        if app is None:
            return self._all(_ALL_SNAPSHOTS, snapshot_of)
        return self._all(_SNAPSHOTS, snapshot_of, app=app)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        try:
            self._change(_SAVE_SNAPSHOT, snapshot_row(snapshot)._asdict())
        except sqlite3.IntegrityError as error:
            text = f"another snapshot of {snapshot.app} has the number {snapshot.number}"
            raise ValueError(text) from error

    def delete_snapshot(self, snapshot_id: str) -> None:
        self._change(_DELETE_SNAPSHOT, {"id": snapshot_id})

    def fact(self, name: str) -> str:
        return self._first(_FACT, _text_of, name=name) or ""

    def save_fact(self, name: str, value: str) -> None:
        self._change(_SAVE_FACT, {"name": name, "value": value})

    def delete_expired(
        self,
        before: datetime,
        *,
        deliveries_before: datetime | None = None,
        max_deliveries: int = MAX_DELIVERIES,
    ) -> int:
        limits = {
            "before": stamp(before),
            "deliveries_before": stamp(deliveries_before or before),
            "max_deliveries": max_deliveries,
        }
        return sum(self._change(statement, limits) for statement in _DELETE_EXPIRED)


def _key(delivery: Delivery) -> dict[str, object]:
    return {"forge": delivery.forge, "id": delivery.id}


def _lower(text: str) -> str:
    """As SQLite's `lower` does: ASCII letters only."""
    return "".join(each.lower() if each.isascii() else each for each in text)


def _stored_delivery_of(columns: Sequence[Any]) -> StoredDelivery:
    return StoredDelivery(delivery_record_of(columns[:-1]), str(columns[-1]))


def _text_of(columns: Sequence[Any]) -> str:
    return str(columns[0])


def _pair_of(columns: Sequence[Any]) -> tuple[str, str]:
    return str(columns[0]), str(columns[1])


def _set_aside_of(columns: Sequence[Any]) -> SetAsideDelivery:
    forge, delivery, event, at, outcome = columns
    return SetAsideDelivery(forge, delivery, event, moment(at), outcome)


def _environment_clash(environment: Environment, error: sqlite3.IntegrityError) -> str:
    if "environments.host" in str(error):
        return f"another present environment has the host {environment.host}"
    return f"another environment has the key {environment.key}"


def _deployment_clash(deployment: Deployment, error: sqlite3.IntegrityError) -> str:
    if "FOREIGN KEY" in str(error):
        return f"there is no environment {deployment.environment_id}"
    return f"another deployment of {deployment.environment_id} has the generation {deployment.generation}"
