"""A transaction's reads and writes in SQL.

The statements are built once, at import; SQLAlchemy compiles each on its first use, and the connection keeps
it prepared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Delete,
    Integer,
    Select,
    Table,
    Text,
    bindparam,
    delete,
    func,
    literal,
    not_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import IntegrityError

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
from stager.stores.sqlite.schema import (
    changes,
    deliveries,
    delivery_attempts,
    deployments,
    environment_state,
    environments,
    facts,
    processed_events,
    refused_deliveries,
    repositories,
    service_hosts,
    sessions,
    share_links,
    snapshots,
)
from stager.stores.sqlite.statements import upsert


def _rows_of(table: Table, row: type[NamedTuple]) -> Select[Any]:
    return select(*(table.c[field] for field in row._fields))


def _pairs(generation: ColumnElement[Any]) -> Select[Any]:
    """Environments, oldest first, each with its deployment of this generation."""
    of_environment = deployments.c.environment_id == environments.c.id
    return (
        _rows_of(environments, EnvironmentRow)
        .add_columns(*(deployments.c[field] for field in DeploymentRow._fields))
        .outerjoin_from(environments, deployments, of_environment & (deployments.c.generation == generation))
        .order_by(environments.c.created_at, environments.c.seq)
    )


_is_present = environments.c.run != literal(RunState.ABSENT.value, literal_execute=True)
_PRESENCE = {None: (), True: (_is_present,), False: (not_(_is_present),)}

_ENVIRONMENTS = _rows_of(environments, EnvironmentRow).order_by(environments.c.created_at, environments.c.seq)
_ENVIRONMENTS_BY_PRESENCE = {present: _ENVIRONMENTS.where(*where) for present, where in _PRESENCE.items()}
_ENVIRONMENTS_OF = _ENVIRONMENTS.where(environments.c.subject == bindparam("subject"), _is_present)
_ENVIRONMENT = _rows_of(environments, EnvironmentRow).where(environments.c.id == bindparam("id"))
_ENVIRONMENT_BY_KEY = _rows_of(environments, EnvironmentRow).where(
    environments.c.app == bindparam("app"), environments.c.subject == bindparam("subject")
)
_of_host = environments.c.host == bindparam("host")
_ENVIRONMENT_BY_HOST = _rows_of(environments, EnvironmentRow).where(_of_host, _is_present)
_LAST_ENVIRONMENT_BY_HOST = (
    _rows_of(environments, EnvironmentRow)
    .where(_of_host)
    .order_by(environments.c.updated_at.desc(), environments.c.seq.desc())
    .limit(1)
)

_BY_SERVICE_HOST = (
    _rows_of(environments, EnvironmentRow)
    .join(service_hosts, service_hosts.c.environment_id == environments.c.id)
    .where(service_hosts.c.host == bindparam("host"))
)
_PRESENT_BY_SERVICE_HOST = _BY_SERVICE_HOST.where(_is_present)
_BY_HOST = (
    _ENVIRONMENT_BY_HOST,
    _PRESENT_BY_SERVICE_HOST,
    _LAST_ENVIRONMENT_BY_HOST,
    _BY_SERVICE_HOST,
)
"""In this order: the first that finds one decides."""
_ALL_SERVICE_HOSTS = select(service_hosts.c.environment_id, service_hosts.c.service, service_hosts.c.host)
_SERVICE_HOSTS = _ALL_SERVICE_HOSTS.where(service_hosts.c.environment_id == bindparam("environment_id"))
_DROP_SERVICE_HOSTS = delete(service_hosts).where(service_hosts.c.environment_id == bindparam("of_id"))
_SAVE_SERVICE_HOST = upsert(service_hosts, "host")

_WITH_DEPLOYMENT = _pairs(environments.c.generation)
_WITH_DEPLOYMENT_BY_PRESENCE = {p: _WITH_DEPLOYMENT.where(*where) for p, where in _PRESENCE.items()}
_BEING_SERVED = _pairs(environments.c.serving).where(environments.c.serving.is_not(None))

_STATE = select(environment_state.c.value).where(
    environment_state.c.environment_id == bindparam("environment_id"),
    environment_state.c.kind == bindparam("kind"),
)
_STATES = select(environment_state.c.environment_id, environment_state.c.value).where(
    environment_state.c.kind == bindparam("kind")
)
_insert_state = insert(environment_state).from_select(
    ["environment_id", "kind", "value"],
    select(environments.c.id, bindparam("of_kind", type_=Text), bindparam("of_value", type_=Text)).where(
        environments.c.id == bindparam("of_id")
    ),
)
_SAVE_STATE = _insert_state.on_conflict_do_update(
    index_elements=["environment_id", "kind"], set_={"value": _insert_state.excluded.value}
)
_DELETE_STATE = delete(environment_state).where(
    environment_state.c.environment_id == bindparam("of_id"), environment_state.c.kind == bindparam("of_kind")
)

_SAVE_ENVIRONMENT = upsert(environments, "id")

_DEPLOYMENT = _rows_of(deployments, DeploymentRow).where(deployments.c.id == bindparam("id"))
_ALL_DEPLOYMENTS = _rows_of(deployments, DeploymentRow)
_DEPLOYMENTS = (
    _rows_of(deployments, DeploymentRow)
    .where(deployments.c.environment_id == bindparam("environment_id"))
    .order_by(deployments.c.generation.desc())
)
_DEPLOYMENT_OF = _DEPLOYMENTS.where(deployments.c.generation == bindparam("generation"))
_SAVE_DEPLOYMENT = upsert(deployments, "id")

_ADD_DELIVERY = insert(deliveries).on_conflict_do_nothing(index_elements=["forge", "id"]).inline()
_NEXT_DELIVERY = (
    _rows_of(deliveries, DeliveryRow)
    .where(deliveries.c.finished_at.is_(None))
    .order_by(deliveries.c.seq)
    .limit(1)
)
_of_delivery = (deliveries.c.forge == bindparam("of_forge")) & (deliveries.c.id == bindparam("of_id"))
_FINISH_DELIVERY = update(deliveries).where(_of_delivery)
_DROP_DELIVERY = delete(deliveries).where(_of_delivery)

_of_attempt = (delivery_attempts.c.forge == bindparam("of_forge")) & (
    delivery_attempts.c.delivery_id == bindparam("of_id")
)
_BEGIN_DELIVERY = (
    insert(delivery_attempts)
    .from_select(
        ["forge", "delivery_id", "count"],
        select(deliveries.c.forge, deliveries.c.id, literal(1)).where(
            _of_delivery, deliveries.c.finished_at.is_(None)
        ),
        include_defaults=False,
    )
    .on_conflict_do_update(
        index_elements=["forge", "delivery_id"], set_={"count": delivery_attempts.c.count + 1}
    )
    .returning(delivery_attempts.c.count)
)
_RELEASE_DELIVERY = (
    update(delivery_attempts)
    .where(_of_attempt, delivery_attempts.c.count > 0)
    .values(count=delivery_attempts.c.count - 1)
)
_END_ATTEMPTS = delete(delivery_attempts).where(_of_attempt)
_IS_SET_ASIDE = select(delivery_attempts.c.count).where(_of_attempt, delivery_attempts.c.set_aside)
_SET_ASIDE = (
    select(
        deliveries.c.forge,
        deliveries.c.id,
        deliveries.c.event,
        deliveries.c.finished_at,
        deliveries.c.outcome,
    )
    .join(
        delivery_attempts,
        (delivery_attempts.c.forge == deliveries.c.forge)
        & (delivery_attempts.c.delivery_id == deliveries.c.id),
    )
    .where(delivery_attempts.c.set_aside)
    .order_by(deliveries.c.seq)
)
_LISTED_DELIVERIES = (
    select(
        deliveries.c.forge,
        deliveries.c.id,
        deliveries.c.event,
        deliveries.c.about,
        deliveries.c.received_at,
        deliveries.c.finished_at,
        deliveries.c.outcome,
        delivery_attempts.c.set_aside,
    )
    .outerjoin(
        delivery_attempts,
        (delivery_attempts.c.forge == deliveries.c.forge)
        & (delivery_attempts.c.delivery_id == deliveries.c.id),
    )
    .order_by(deliveries.c.seq.desc())
)
_searched = deliveries.c.id.concat(" ").concat(deliveries.c.event).concat(" ").concat(deliveries.c.about)
_RECENT_DELIVERIES = _LISTED_DELIVERIES.limit(bindparam("limit"))
_FOUND_DELIVERIES = _RECENT_DELIVERIES.where(
    func.instr(
        func.lower(_searched.concat(" ").concat(func.coalesce(deliveries.c.outcome, ""))), bindparam("search")
    )
    > 0
)
_STORED_DELIVERIES = _LISTED_DELIVERIES.add_columns(deliveries.c.payload).where(
    deliveries.c.id == bindparam("id")
)
# `payload <> ''` is the condition of the index `ix_deliveries_payload`.
_DISCARD_PAYLOADS = (
    update(deliveries)
    .where(
        deliveries.c.seq
        <= select(deliveries.c.seq)
        .where(deliveries.c.seq > 0)  # a search in the table's own order, of 501 rows
        .order_by(deliveries.c.seq.desc())
        .limit(1)
        .offset(bindparam("kept", MAX_PAYLOADS, type_=Integer))
        .scalar_subquery(),
        deliveries.c.finished_at.is_not(None),
        text("payload <> ''"),
    )
    .values(payload="")
)
_refused = insert(refused_deliveries)
_COUNT_REFUSED = _refused.on_conflict_do_update(
    index_elements=["forge", "reason"],
    set_={
        "total": refused_deliveries.c.total + _refused.excluded.total,
        **{name: _refused.excluded[name] for name in ("at", "message", "hint")},
    },
)
_REFUSED_DELIVERIES = _rows_of(refused_deliveries, RefusedRow).order_by(
    refused_deliveries.c.at.desc(), refused_deliveries.c.forge, refused_deliveries.c.reason
)
_SET_DELIVERY_ASIDE = upsert(delivery_attempts, "forge", "delivery_id")

_IS_PROCESSED = select(processed_events.c.at).where(
    processed_events.c.repository_id == bindparam("repository_id"),
    processed_events.c.event == bindparam("event"),
)
_MARK_PROCESSED = (
    insert(processed_events).on_conflict_do_nothing(index_elements=["repository_id", "event"]).inline()
)

_CHANGE = _rows_of(changes, ChangeRow).where(
    changes.c.repository_id == bindparam("repository_id"), changes.c.number == bindparam("number")
)
_OPEN_CHANGES = (
    _rows_of(changes, ChangeRow)
    .where(changes.c.repository_id == bindparam("repository_id"), changes.c.is_open)
    .order_by(changes.c.number)
)
_SAVE_CHANGE = upsert(changes, "repository_id", "number")

_REPOSITORIES = _rows_of(repositories, RepositoryRow).order_by(
    repositories.c.app, repositories.c.repository_id
)
_SAVE_REPOSITORY = upsert(repositories, "app", "repository_id")

_SNAPSHOT = _rows_of(snapshots, SnapshotRow).where(snapshots.c.id == bindparam("id"))
_ALL_SNAPSHOTS = _rows_of(snapshots, SnapshotRow).order_by(snapshots.c.app, snapshots.c.number.desc())
_SNAPSHOTS = _ALL_SNAPSHOTS.where(snapshots.c.app == bindparam("app"))
_SAVE_SNAPSHOT = upsert(snapshots, "id")
_DELETE_SNAPSHOT = delete(snapshots).where(snapshots.c.id == bindparam("of_id"))

_FACT = select(facts.c.value).where(facts.c.name == bindparam("name"))
_SAVE_FACT = upsert(facts, "name")

# What belongs to an environment is deleted by cascade.
_DELETE_EXPIRED: tuple[Delete, ...] = (
    delete(deliveries).where(deliveries.c.finished_at < bindparam("deliveries_before")),
    delete(deliveries).where(
        deliveries.c.finished_at.is_not(None),
        deliveries.c.seq
        <= select(func.max(deliveries.c.seq)).scalar_subquery() - bindparam("max_deliveries", type_=Integer),
    ),
    delete(refused_deliveries).where(refused_deliveries.c.at < bindparam("deliveries_before")),
    delete(processed_events).where(processed_events.c.at < bindparam("deliveries_before")),
    delete(environments).where(
        not_(_is_present),
        environments.c.updated_at < bindparam("before"),
        environments.c.id.not_in(
            select(environment_state.c.environment_id).where(
                environment_state.c.kind == StateKind.EXTERNAL.value
            )
        ),
    ),
    delete(sessions).where(sessions.c.expires_at < bindparam("before")),
    delete(share_links).where(share_links.c.expires_at < bindparam("before")),
)


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
        self._change(_DROP_SERVICE_HOSTS, {"of_id": environment_id})
        for service, host in hosts.items():
            row = {"host": host, "environment_id": environment_id, "service": service}
            self._change(_SAVE_SERVICE_HOST, row)

    def environments(self, *, present: bool | None = None) -> list[Environment]:
        return self._all(_ENVIRONMENTS_BY_PRESENCE[present], environment_of)

    def environments_of(self, subject: str) -> list[Environment]:
        return self._all(_ENVIRONMENTS_OF, environment_of, subject=subject)

    def environments_with_deployments(
        self, *, present: bool | None = None
    ) -> list[tuple[Environment, Deployment | None]]:
        return self._all(_WITH_DEPLOYMENT_BY_PRESENCE[present], pair_of)

    def environments_being_served(self) -> list[tuple[Environment, Deployment | None]]:
        return self._all(_BEING_SERVED, pair_of)

    def save_environment(self, environment: Environment) -> None:
        if environment.desired.is_present:
            holder = self._first(_PRESENT_BY_SERVICE_HOST, environment_of, host=environment.host)
            if holder is not None and holder.id != environment.id:
                raise ValueError(f"another present environment has the host {environment.host}")
        try:
            self._change(_SAVE_ENVIRONMENT, environment_row(environment)._asdict())
        except IntegrityError as error:
            raise ValueError(_environment_clash(environment, error)) from error

    def environment_state(self, environment_id: str, kind: StateKind) -> str:
        return self._first(_STATE, _text_of, environment_id=environment_id, kind=kind.value) or ""

    def save_environment_state(self, environment_id: str, kind: StateKind, value: str) -> None:
        row = {"of_id": environment_id, "of_kind": kind.value}
        if value:
            self._change(_SAVE_STATE, {**row, "of_value": value})
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
        except IntegrityError as error:
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
        ending = {**_kept(delivery), "outcome": outcome, "finished_at": stamp(at), "about": about}
        if self._change(_FINISH_DELIVERY, {**_key(delivery), **ending}):
            self._change(_END_ATTEMPTS, _key(delivery))
            self._change(_DISCARD_PAYLOADS, {})

    def set_delivery_aside(self, delivery: Delivery, outcome: str, at: datetime) -> None:
        ending = {**_kept(delivery), "outcome": outcome, "finished_at": stamp(at)}
        if self._change(_FINISH_DELIVERY, {**_key(delivery), **ending}):
            row = {"forge": delivery.forge, "delivery_id": delivery.id, "count": 0, "set_aside": True}
            self._change(_SET_DELIVERY_ASIDE, row)
            self._change(_DISCARD_PAYLOADS, {})

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
        except IntegrityError as error:
            text = f"another snapshot of {snapshot.app} has the number {snapshot.number}"
            raise ValueError(text) from error

    def delete_snapshot(self, snapshot_id: str) -> None:
        self._change(_DELETE_SNAPSHOT, {"of_id": snapshot_id})

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
    return {"of_forge": delivery.forge, "of_id": delivery.id}


def _kept(delivery: Delivery) -> dict[str, object]:
    """The column of a finished delivery's payload: unchanged, or emptied if it is too long to be kept."""
    return {} if len(delivery.payload) <= MAX_PAYLOAD else {"payload": ""}


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


def _environment_clash(environment: Environment, error: IntegrityError) -> str:
    if "environments.host" in str(error.orig):
        return f"another present environment has the host {environment.host}"
    return f"another environment has the key {environment.key}"


def _deployment_clash(deployment: Deployment, error: IntegrityError) -> str:
    if "FOREIGN KEY" in str(error.orig):
        return f"there is no environment {deployment.environment_id}"
    return f"another deployment of {deployment.environment_id} has the generation {deployment.generation}"
