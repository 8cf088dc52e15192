"""What is remembered. A transaction is one synchronous function, so that it can't be held across an await."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, EnvironmentKey
from stager.domain.pull_requests.events import Delivery
from stager.domain.source import Change, Repository
from stager.ports.accounts import AccountRecords

T = TypeVar("T")


ABOUT_ENVIRONMENTS = ("announced:deployment:", "announced:status:", "comment:", "handlers:", "kept:", "note:")
"""How the names of facts about one environment begin; they end with its id, and are forgotten with it."""


@dataclass(frozen=True, slots=True)
class SeenRepository:
    """A repository that a verified delivery came from, and the app that it belongs to."""

    app: str
    repository: Repository


@dataclass(frozen=True, slots=True)
class SetAside:
    """A delivery whose processing doesn't end, so that it isn't processed any more.

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


class Transaction(AccountRecords, Protocol):
    """Reads and writes that happen all or not at all."""

    def environment(self, environment_id: str) -> Environment | None:
        """The environment of this id."""

    def environment_by_key(self, key: EnvironmentKey) -> Environment | None:
        """The environment of this key."""

    def environment_by_host(self, host: str) -> Environment | None:
        """The present environment that has this host; failing that, the one that had it last."""

    def environments(self, *, present: bool | None = None) -> list[Environment]:
        """All environments, oldest first; only the present or only the gone ones where asked."""

    def save_environment(self, environment: Environment) -> None:
        """Insert or replace, by id. Raises ValueError when another present environment has the host or
        any other has the key."""

    def deployment(self, deployment_id: str) -> Deployment | None:
        """The deployment of this id."""

    def deployment_of(self, environment_id: str, generation: int) -> Deployment | None:
        """The deployment of this generation."""

    def deployments(self, environment_id: str) -> list[Deployment]:
        """An environment's deployments, newest first."""

    def save_deployment(self, deployment: Deployment) -> None:
        """Insert or replace, by id. Raises ValueError when its environment isn't known, or has another of
        this generation."""

    def add_delivery(self, delivery: Delivery, at: datetime) -> bool:
        """Record a delivery; False and no effect when one of this forge and id is recorded already. One that
        was set aside is recorded afresh, after all others: somebody had it sent again."""

    def next_delivery(self) -> Delivery | None:
        """The oldest delivery that isn't finished."""

    def begin_delivery(self, delivery: Delivery) -> int:
        """Count one more beginning of its processing. Returns how many there are without an end, this one
        included; 0 and no effect when there is no such delivery, or it is finished."""

    def release_delivery(self, delivery: Delivery) -> None:
        """Take back its last beginning, which ended early for a reason that isn't the delivery's."""

    def finish_delivery(self, delivery: Delivery, outcome: str, at: datetime) -> None:
        """Remember how it went; it isn't given out again."""

    def set_delivery_aside(self, delivery: Delivery, outcome: str, at: datetime) -> None:
        """Remember why it isn't processed; it isn't given out again, but listed."""

    def deliveries_set_aside(self) -> list[SetAside]:
        """Those that are set aside, in the order in which they came."""

    def was_acted_on(self, repository_id: str, event: str) -> bool:
        """Whether an event of this name was acted on."""

    def act_on(self, repository_id: str, event: str, at: datetime) -> bool:
        """Remember that an event of this name was acted on; False and no effect when that is known."""

    def change(self, repository_id: str, number: int) -> Change | None:
        """The newest state that was seen of a change."""

    def open_changes(self, repository_id: str) -> list[Change]:
        """Every change of the repository that was open when it was last seen."""

    def save_change(self, change: Change) -> None:
        """Insert or replace, by repository and number."""

    def repositories(self) -> list[SeenRepository]:
        """Every repository that was seen."""

    def save_repository(self, app: str, repository: Repository) -> None:
        """Insert or replace, by app and repository id."""

    def fact(self, name: str) -> str:
        """A fact about this installation, such as its domain; empty when it isn't known."""

    def save_fact(self, name: str, value: str) -> None:
        """Insert or replace."""

    def forget(self, before: datetime, *, deliveries_before: datetime | None = None) -> int:
        """Remove finished deliveries, events that were acted on, gone environments with their deployments
        and the facts about them (see `ABOUT_ENVIRONMENTS`), and sessions and share links over their time,
        that are older. Returns how many of these went.

        Args:
            deliveries_before: the same for deliveries and events, where another time counts for them.
        """


class Store(Protocol):
    """Runs transactions, one writer at a time. Both ways raise `Retry` or `Fault` when the store itself is in
    trouble."""

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a consistent picture; it must not write."""

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` and commit; nothing of it stays when it raises. On return, no end of this process can
        undo it."""

    async def close(self) -> None:
        """Finish what is under way and close."""
