"""The store of environments, deployments, deliveries and accounts.

A transaction is one synchronous function, so that it can't be held across an await.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, EnvironmentKey
from stager.domain.pull_requests.events import Delivery
from stager.domain.snapshot import Snapshot
from stager.domain.source import Change, Repository
from stager.ports.accounts import AccountRecords

T = TypeVar("T")


class StateKind(StrEnum):
    """Kinds of state that belong to one environment and are deleted with it."""

    PIN = "pin"
    EXPIRY = "expiry"
    """The warning that it will expire; empty while it won't soon."""
    QUEUE = "queue"
    """Since when it waits for room."""
    SLEEP_REASON = "sleep-reason"
    """For which shortage it was put to sleep, a sentence; empty if nobody visited it."""
    ACTIVITY = "activity"
    """When it was last requested, and put to sleep or woken."""
    NOTE = "note"
    """The newest note in its pull-request comment."""
    COMMENT = "comment"
    """The digest of its pull-request comment's text."""
    COMMIT_STATUS = "commit-status"
    """The commit status that was reported last."""
    DEPLOYMENT = "deployment"
    """The forge's deployment that was reported last."""
    SNAPSHOT = "snapshot"
    """Its generation and the id of the snapshot that the generation's volumes are cloned from."""
    ROLLBACK = "rollback"
    """Its generation and the id of the deployment that the generation brings back."""
    CHANGED_DATA = "changed-data"
    """The generation that visitors reach, and how many bytes of its clones had changed when it was live."""
    HANDLERS = "handlers"
    """Which lifecycle handlers have run for its generation."""
    EXTERNAL = "external"
    """Its external resources. While there are any, the environment isn't deleted."""


@dataclass(frozen=True, slots=True)
class SeenRepository:
    """A repository that a verified delivery came from, and the application that it belongs to."""

    app: str
    repository: Repository


@dataclass(frozen=True, slots=True)
class SetAsideDelivery:
    """A delivery that is no longer processed because its processing never ended.

    Args:
        delivery: its id.
        event: the forge's name for the kind of event.
        at: when it was set aside.
        outcome: why, in words.
    """

    forge: str
    delivery: str
    event: str
    at: datetime
    outcome: str


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """A delivery as it is listed, without its content.

    Args:
        delivery: its id.
        event: the forge's name for the kind of event.
        about: the repository and the number of the pull request, such as `acme/shop#7`; empty if unknown.
        finished_at: None while it waits or is processed.
        outcome: in words; empty until it is finished.
        is_set_aside: whether it is no longer processed because its processing never ended.
    """

    forge: str
    delivery: str
    event: str
    about: str
    received_at: datetime
    finished_at: datetime | None = None
    outcome: str = ""
    is_set_aside: bool = False


@dataclass(frozen=True, slots=True)
class RefusedDeliveries:
    """Deliveries that weren't accepted, of one forge and for one reason.

    Args:
        reason: the slug of the error.
        count: how many.
        at: when the last one arrived.
        message: the error's sentence.
        hint: what to do; may be empty.
    """

    forge: str
    reason: str
    count: int
    at: datetime
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """A delivery as it is listed, with its content.

    Args:
        payload: the body as JSON text; empty if it isn't kept.
    """

    record: DeliveryRecord
    payload: str = ""


MAX_PAYLOADS = 500
"""The newest deliveries, of which finished ones keep their payload, so that they can be replayed."""

MAX_PAYLOAD = 100_000
"""Characters of a payload that is kept when its delivery is finished. GitHub's about pull requests have about
25,000."""

MAX_DELIVERIES = 100_000
"""Finished deliveries that are kept, however young they are; about 200 bytes each."""


class Transaction(AccountRecords, Protocol):
    """Reads and writes that are committed together or not at all."""

    def environment(self, environment_id: str) -> Environment | None:
        """The environment with this id."""

    def environment_by_key(self, key: EnvironmentKey) -> Environment | None:
        """The environment with this key."""

    def environment_by_host(self, host: str) -> Environment | None:
        """The present environment with this host, its own or one of its services; if there is none, the one
        that had it last."""

    def environments(self, *, present: bool | None = None) -> list[Environment]:
        """Environments, oldest first.

        Args:
            present: True for the present ones only, False for the absent ones only.
        """

    def environments_of(self, subject: str) -> list[Environment]:
        """Present environments of this subject (see `EnvironmentKey`), of any application, oldest first."""

    def environments_with_deployments(
        self, *, present: bool | None = None
    ) -> list[tuple[Environment, Deployment | None]]:
        """Environments as in `environments`, each with the deployment of its desired generation."""

    def environments_being_served(self) -> list[tuple[Environment, Deployment | None]]:
        """Environments that the front sends requests to, each with the deployment that it serves."""

    def save_environment(self, environment: Environment) -> None:
        """Insert or replace, by id. Raises ValueError when another present environment has the host or
        any other has the key."""

    def service_hosts(self, environment_id: str) -> dict[str, str]:
        """The hosts of an environment's services other than the main one, by the service's name."""

    def all_service_hosts(self) -> dict[str, dict[str, str]]:
        """The hosts of all environments as in `service_hosts`, by the environment's id."""

    def save_service_hosts(self, environment_id: str, hosts: Mapping[str, str]) -> None:
        """Replace the hosts of this environment. One that a removed environment had is taken from it. Raises
        ValueError when another present environment has one of them, or there is no such environment."""

    def environment_state(self, environment_id: str, kind: StateKind) -> str:
        """A piece of state of an environment; empty when there is none."""

    def save_environment_state(self, environment_id: str, kind: StateKind, value: str) -> None:
        """Insert or replace; an empty value deletes. No effect when there is no such environment."""

    def environment_states(self, kind: StateKind) -> dict[str, str]:
        """The state of this kind of all environments that have any, by their ids."""

    def deployment(self, deployment_id: str) -> Deployment | None:
        """The deployment with this id."""

    def deployment_of(self, environment_id: str, generation: int) -> Deployment | None:
        """The deployment of this generation."""

    def deployments(self, environment_id: str) -> list[Deployment]:
        """An environment's deployments, newest first."""

    def all_deployments(self) -> list[Deployment]:
        """The deployments of all environments, in no order."""

    def save_deployment(self, deployment: Deployment) -> None:
        """Insert or replace, by id. Raises ValueError when there is no such environment, or it has another
        deployment of this generation."""

    def add_delivery(self, delivery: Delivery, at: datetime) -> bool:
        """Record a delivery. Returns False, without effect, when one with this forge and id is recorded.
        A redelivery of one that was set aside is recorded again, behind all others."""

    def next_delivery(self) -> Delivery | None:
        """The oldest unfinished delivery."""

    def begin_delivery(self, delivery: Delivery) -> int:
        """Count one more attempt to process it. Returns the number of attempts that haven't ended, this one
        included; 0, without effect, when there is no such delivery or it is finished."""

    def release_delivery(self, delivery: Delivery) -> None:
        """Don't count its last attempt, which was interrupted by something unrelated to the delivery."""

    def finish_delivery(self, delivery: Delivery, outcome: str, at: datetime, about: str = "") -> None:
        """Record the outcome and what the delivery is about; `next_delivery` no longer returns it. Its
        payload is kept within `MAX_PAYLOADS` and `MAX_PAYLOAD`."""

    def set_delivery_aside(self, delivery: Delivery, outcome: str, at: datetime) -> None:
        """Record why it isn't processed; `next_delivery` no longer returns it. Its payload is kept as by
        `finish_delivery`."""

    def deliveries_set_aside(self) -> list[SetAsideDelivery]:
        """Those that are set aside, in the order of their arrival."""

    def recent_deliveries(self, limit: int, search: str = "") -> list[DeliveryRecord]:
        """The newest deliveries, the newest first.

        Args:
            search: only those with this text in the id, the event, the outcome or what they are about,
                whatever the case of ASCII letters.
        """

    def stored_deliveries(self, delivery_id: str) -> list[StoredDelivery]:
        """The deliveries of this id, of each forge at most one, the newest first."""

    def count_refused(self, refused: RefusedDeliveries) -> None:
        """Add to the count of this forge and reason, and replace the rest."""

    def refused_deliveries(self) -> list[RefusedDeliveries]:
        """Those that weren't accepted, by forge and reason, the newest first."""

    def is_processed(self, repository_id: str, event: str) -> bool:
        """Whether an event of this name was marked as processed."""

    def mark_processed(self, repository_id: str, event: str, at: datetime) -> bool:
        """Mark an event of this name as processed. Returns False, without effect, when it is already."""

    def change(self, repository_id: str, number: int) -> Change | None:
        """The newest known state of a change."""

    def open_changes(self, repository_id: str) -> list[Change]:
        """The repository's changes whose newest known state is open."""

    def save_change(self, change: Change) -> None:
        """Insert or replace, by repository and number."""

    def repositories(self) -> list[SeenRepository]:
        """All known repositories."""

    def save_repository(self, app: str, repository: Repository) -> None:
        """Insert or replace, by application and repository id."""

    def snapshot(self, snapshot_id: str) -> Snapshot | None:
        """The snapshot with this id."""

    def snapshots(self, app: str | None = None) -> list[Snapshot]:
        """The snapshots of an application, newest first; None for those of all applications."""

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Insert or replace, by id. Raises ValueError when another one of the application has the number."""

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete its record; no effect when there is none."""

    def fact(self, name: str) -> str:
        """A fact about this installation, such as its domain; empty when there is none."""

    def save_fact(self, name: str, value: str) -> None:
        """Insert or replace."""

    def delete_expired(
        self,
        before: datetime,
        *,
        deliveries_before: datetime | None = None,
        max_deliveries: int = MAX_DELIVERIES,
    ) -> int:
        """Delete absent environments that last changed before this time with all that belongs to them, unless
        they have external resources; sessions and share links that expired before it, and finished or refused
        deliveries and processed events that are older. Returns the number of these; what belongs to an
        environment isn't counted.

        Args:
            deliveries_before: the limit for deliveries and events, where it differs.
            max_deliveries: of those that are younger, finished ones beyond this number are deleted, too.
        """


class Store(Protocol):
    """Runs transactions, one writer at a time. `read` and `write` raise `Retry` or `Fault` when the store
    itself fails."""

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a consistent snapshot; it must not write."""

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` and commit; roll back when it raises. What was committed survives the end of this
        process."""

    async def close(self) -> None:
        """Finish running transactions and close."""
