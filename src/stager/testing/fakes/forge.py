"""An in-memory forge with fault modes.

It implements all of `stager.ports.forge`. Methods that change a pull request return the event that a webhook
would deliver; the test decides whether, when and how often it is delivered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import (
    ChangeAction,
    ChangeEvent,
    CommentAdded,
    Delivery,
    Event,
    Ignored,
)
from stager.domain.source import Change, Repository, repository_id
from stager.ports.forge import Forge, RateLimit, Signed
from stager.ports.source import Origin
from stager.testing.fakes.clock import START
from stager.testing.fakes.forge_people import FakePeople
from stager.testing.fakes.forge_reports import Comment, FakeReports

FORGE = "fake"


@dataclass(frozen=True, slots=True)
class Lost:
    """A delivery that failed.

    Args:
        at: by the forge's own clock.
    """

    delivery: Delivery
    at: datetime


class _Anything(Signed):
    """Accepts any body."""

    def update(self, piece: bytes) -> None:
        pass

    def check(self) -> None:
        pass


class FakeForge(FakeReports, FakePeople):
    """See `stager.ports.forge`; it implements each of its protocols.

    Args:
        tick: seconds between two events; times are in whole seconds, as on GitHub.
        secret: the value that `receive` expects in the header `authorization`.

    Attributes:
        fault_mode: how it answers.
        comments, deployments, statuses: all of them, oldest first.
        origins: origins by repository id; others have an invented URL.
        lost: failed deliveries, for `redeliver`.
        redelivered: deliveries that `redeliver` has sent again; the test delivers them.
        rate_limit: the result of `limits`.
    """

    def __init__(self, *, tick: float = 1.0, secret: str = "") -> None:
        super().__init__()
        self.origins: dict[str, Origin] = {}
        self.lost: list[Lost] = []
        self.redelivered: list[Delivery] = []
        self.rate_limit: RateLimit | None = None
        self._tick = timedelta(seconds=tick)
        self._secret = secret
        self._now = START
        self._repositories: list[Repository] = []
        self._former_names: dict[tuple[str, str], str] = {}
        self._changes: dict[tuple[str, int], Change] = {}
        self._events: list[Event] = []

    # Called by tests.

    def add_repository(self, owner: str, name: str) -> Repository:
        """Add a repository. Its name may be the former name of another one."""
        repository = Repository(repository_id(FORGE, str(len(self._repositories) + 101)), owner, name)
        self._repositories.append(repository)
        return repository

    def rename(self, repository: Repository, owner: str, name: str) -> Repository:
        """Rename or transfer a repository, without an event. Its old name redirects to it until another
        repository has that name. Returns the renamed repository."""
        renamed = Repository(repository.id, owner, name)
        now = next(r for r in self._repositories if r.id == repository.id)
        self._former_names[now.owner, now.name] = repository.id
        self._repositories[self._repositories.index(now)] = renamed
        for key, change in self._changes.items():
            base, head = change.repository, change.head_repository
            self._changes[key] = replace(
                change,
                repository=renamed if base.id == renamed.id else base,
                head_repository=renamed if head is not None and head.id == renamed.id else head,
            )
        return renamed

    @property
    def changes(self) -> list[Change]:
        """The current changes, oldest first."""
        return list(self._changes.values())

    @property
    def repositories(self) -> list[Repository]:
        """The repositories with their current names."""
        return list(self._repositories)

    def open(  # noqa: PLR0913 (the fields of a pull request, most with a default)
        self,
        repository: Repository,
        ref: str,
        sha: str,
        *,
        fork: Repository | None = None,
        title: str = "A change",
        author: str = "octocat",
        labels: tuple[str, ...] = (),
        draft: bool = False,
        description: str = "",
        author_is_bot: bool = False,
    ) -> ChangeEvent:
        """Open a change. Returns the event, as the following methods do.

        Args:
            repository: its base.
            fork: the repository of its head, if another one.
        """
        number = 1 + sum(repository_id == repository.id for repository_id, _ in self._changes)
        change = Change(
            repository=repository,
            number=number,
            is_open=True,
            head_sha=sha,
            head_ref=ref,
            head_repository=fork or repository,
            base_ref="main",
            title=title,
            author=author,
            url=f"https://forge.test/{repository.full_name}/pull/{number}",
            updated_at=self._moment(),
            labels=labels,
            draft=draft,
            description=description,
            author_is_bot=author_is_bot,
        )
        return self._recorded(ChangeAction.OPENED, change)

    def edit(
        self,
        event: ChangeEvent,
        *,
        labels: tuple[str, ...] | None = None,
        draft: bool | None = None,
        title: str | None = None,
        description: str | None = None,
    ) -> ChangeEvent:
        """Edit the change without its code. None leaves a field as it is."""
        change = self._change_of(event)
        edited = replace(
            change,
            labels=change.labels if labels is None else labels,
            draft=change.draft if draft is None else draft,
            title=change.title if title is None else title,
            description=change.description if description is None else description,
            head_before="",
            updated_at=self._moment(),
        )
        # Events of a closed change are read as `CLOSED`.
        return self._recorded(ChangeAction.EDITED if change.is_open else ChangeAction.CLOSED, edited)

    def push(self, event: ChangeEvent, sha: str) -> ChangeEvent:
        """Push a new head to the change."""
        change = self._change_of(event)
        pushed = replace(change, head_sha=sha, head_before=change.head_sha, updated_at=self._moment())
        return self._recorded(ChangeAction.SYNCHRONIZE, pushed)

    def close(self, event: ChangeEvent, *, merged: bool = False) -> ChangeEvent:
        change = replace(
            self._change_of(event), is_open=False, merged=merged, head_before="", updated_at=self._moment()
        )
        return self._recorded(ChangeAction.CLOSED, change)

    def reopen(self, event: ChangeEvent) -> ChangeEvent:
        change = replace(self._change_of(event), is_open=True, head_before="", updated_at=self._moment())
        return self._recorded(ChangeAction.REOPENED, change)

    def delete_head(self, event: ChangeEvent) -> None:
        """Delete the repository of the change's head, without an event."""
        change = replace(self._change_of(event), head_repository=None)
        self._changes[change.repository.id, change.number] = change

    def forget(self, event: ChangeEvent) -> None:
        """Delete the change."""
        del self._changes[event.change.repository.id, event.change.number]

    def add_comment(self, event: ChangeEvent, body: str) -> Comment:
        """Add a person's comment."""
        change = event.change
        return self._add(change.repository.id, change.number, body, ours=False)

    def say(self, event: ChangeEvent, text: str, author: str = "octocat") -> CommentAdded:
        """Add a person's comment with a command, such as `/stager logs`."""
        change = event.change
        return CommentAdded(change.repository, change.number, author, text, self.add_comment(event, text).id)

    def lose(self, event: Event) -> Delivery:
        """Record the event's delivery as failed. Returns it."""
        delivery = self.delivery(event)
        self.lost.append(Lost(delivery, self._now))
        return delivery

    def delivery(self, event: Event, delivery_id: str = "") -> Delivery:
        """A delivery of the event.

        Args:
            delivery_id: the id of an earlier delivery, for a repeated one.
        """
        if isinstance(event, Ignored):
            return Delivery(delivery_id or f"d-{event.reason}", FORGE, "other", "null")
        if event not in self._events:
            self._events.append(event)
        number = self._events.index(event)
        return Delivery(delivery_id or f"d-{number}", FORGE, "change", json.dumps(number))

    # The ports.

    def expect(self, headers: Mapping[str, str]) -> Signed:
        """See `Webhooks.expect`. The secret in the headers authenticates the delivery."""
        if headers.get("authorization", "") != self._secret:
            raise Refused("The delivery's secret is wrong.", reason="signature-wrong", status=401)
        return _Anything()

    async def receive(self, headers: Mapping[str, str], body: bytes) -> list[Delivery]:
        """See `Webhooks.receive`. The header `x-fake-delivery` has the id, the body is `Delivery.payload`."""
        self.expect(headers)
        return [Delivery(headers.get("x-fake-delivery", ""), FORGE, "change", body.decode())]

    def read(self, delivery: Delivery) -> Event:
        if delivery.event != "change":
            return Ignored(f"event {delivery.event} has no effect")
        return self._events[int(json.loads(delivery.payload))]

    async def change(self, repository: Repository, number: int) -> Change | None:
        await self._turn()
        return self._as_queried(self._changes.get((repository.id, number)))

    async def open_changes(self, repository: Repository) -> list[Change]:
        await self._turn(lists=True)
        own = [c for c in self._changes.values() if c.repository.id == repository.id and c.is_open]
        return self._listed([replace(change, head_before="") for change in own])

    async def repository(self, owner: str, name: str) -> Repository | None:
        await self._turn()
        found = next((r for r in self._repositories if (r.owner, r.name) == (owner, name)), None)
        former = self._former_names.get((owner, name))
        return found or next((r for r in self._repositories if r.id == former), None)

    async def origin(self, repository: Repository, number: int | None) -> Origin:
        await self._turn()
        url = f"https://forge.test/{repository.full_name}.git"
        known = self.origins.get(repository.id, Origin(url))
        return known if number is None else replace(known, refs=(f"refs/pull/{number}/head",))

    async def redeliver(self, since: datetime) -> int:
        await self._turn()
        again = [lost for lost in self.lost if lost.at >= since]
        self.lost = [lost for lost in self.lost if lost.at < since]
        self.redelivered += [lost.delivery for lost in again]
        return len(again)

    def limits(self) -> RateLimit | None:
        return self.rate_limit

    def _change_of(self, event: ChangeEvent) -> Change:
        return self._changes[event.change.repository.id, event.change.number]

    def _recorded(self, action: ChangeAction, change: Change) -> ChangeEvent:
        self._changes[change.repository.id, change.number] = change
        return ChangeEvent(action, change)

    def _moment(self) -> datetime:
        self._now += self._tick
        return self._now.replace(microsecond=0)

    @staticmethod
    def _as_queried(change: Change | None) -> Change | None:
        """Without the previous head, which only deliveries contain."""
        return replace(change, head_before="") if change else None


def as_forge(forge: FakeForge) -> Forge:
    """The forge as the control plane gets it."""
    return Forge(FORGE, forge, forge, forge, forge, forge, forge, comparison)


def comparison(change: ChangeLink, base: str, head: str) -> str:
    """See `Forge.comparison`."""
    return f"{change.url.rpartition('/pull/')[0]}/compare/{base}...{head}"
