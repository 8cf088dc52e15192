"""A forge in memory: pull requests that a test opens and closes, at a forge of any mood.

It is all of `stager.ports.forge` in one. What happens in it comes back as the event that a webhook would tell
of; whether, when and how often that is delivered is the test's to decide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeAction, ChangeSeen, CommandSaid, Delivery, Event, Ignored
from stager.domain.source import Change, Repository, repository_id
from stager.ports.forge import Forge, RateLimit, Signed
from stager.ports.source import Origin
from stager.testing.fakes.clock import START
from stager.testing.fakes.forge_people import FakePeople
from stager.testing.fakes.forge_places import Comment, FakePlaces

FORGE = "fake"


@dataclass(frozen=True, slots=True)
class Lost:
    """A delivery that the forge couldn't get rid of.

    Args:
        at: by the forge's own clock.
    """

    delivery: Delivery
    at: datetime


class _Anything(Signed):
    """A body of which nothing is to be proved."""

    def update(self, piece: bytes) -> None:
        pass

    def check(self) -> None:
        pass


class FakeForge(FakePlaces, FakePeople):
    """See `stager.ports.forge`; it implements each of its protocols.

    Args:
        tick: the time between two happenings; stamps count whole seconds, as on GitHub.
        secret: what `receive` wants to find in the header `authorization`.

    Attributes:
        mood: how it answers.
        comments, deployments, statuses: all that people see, oldest first.
        origins: where git finds a repository, by the repository's id; a made-up URL for all others.
        lost: the deliveries that failed, for `redeliver`.
        redelivered: those that it has sent again. Bringing them is the test's part.
        rate_limit: what `limits` tells.
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
        self._told: list[Event] = []

    # What happens in it.

    def add_repository(self, owner: str, name: str) -> Repository:
        """A repository. Raises nothing when there is one of this name: a name may be given anew."""
        repository = Repository(repository_id(FORGE, str(len(self._repositories) + 101)), owner, name)
        self._repositories.append(repository)
        return repository

    def rename(self, repository: Repository, owner: str, name: str) -> Repository:
        """The repository is renamed, or transferred to another owner; no event tells of that. Whoever asks by
        an old name is led to it, until that is given to another. Returns it as it is called now."""
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
        """All of them as they are now, oldest first."""
        return list(self._changes.values())

    @property
    def repositories(self) -> list[Repository]:
        """All of them as they are called now."""
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
    ) -> ChangeSeen:
        """A change is opened. Returns the event, as each of the following does.

        Args:
            repository: where it is wanted.
            fork: where its code lies, if not there.
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
        return self._happened(ChangeAction.OPENED, change)

    def edit(
        self,
        event: ChangeSeen,
        *,
        labels: tuple[str, ...] | None = None,
        draft: bool | None = None,
        title: str | None = None,
        description: str | None = None,
    ) -> ChangeSeen:
        """Something of the change of this event is edited, its code not. What is None stays as it was."""
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
        # Of one that is closed, readers of what forges send say that, whatever else is said of it.
        return self._happened(ChangeAction.EDITED if change.is_open else ChangeAction.CLOSED, edited)

    def push(self, event: ChangeSeen, sha: str) -> ChangeSeen:
        """The change of this event, as it is now, gets another head."""
        change = self._change_of(event)
        pushed = replace(change, head_sha=sha, head_before=change.head_sha, updated_at=self._moment())
        return self._happened(ChangeAction.SYNCHRONIZE, pushed)

    def close(self, event: ChangeSeen, *, merged: bool = False) -> ChangeSeen:
        change = replace(
            self._change_of(event), is_open=False, merged=merged, head_before="", updated_at=self._moment()
        )
        return self._happened(ChangeAction.CLOSED, change)

    def reopen(self, event: ChangeSeen) -> ChangeSeen:
        change = replace(self._change_of(event), is_open=True, head_before="", updated_at=self._moment())
        return self._happened(ChangeAction.REOPENED, change)

    def delete_head(self, event: ChangeSeen) -> None:
        """The repository that the change's code lies in is deleted; no event tells of that."""
        change = replace(self._change_of(event), head_repository=None)
        self._changes[change.repository.id, change.number] = change

    def forget(self, event: ChangeSeen) -> None:
        """There is no such change any more, and the forge says so."""
        del self._changes[event.change.repository.id, event.change.number]

    def add_comment(self, event: ChangeSeen, body: str) -> Comment:
        """Somebody comments on the change of this event."""
        change = event.change
        return self._add(change.repository.id, change.number, body, ours=False)

    def say(self, event: ChangeSeen, text: str, author: str = "octocat") -> CommandSaid:
        """Somebody comments a command, which begins with `/stager`, on the change of this event."""
        change = event.change
        return CommandSaid(change.repository, change.number, author, text, self.add_comment(event, text).id)

    def lose(self, event: Event) -> Delivery:
        """The message that tells of the event doesn't arrive. Returns it."""
        delivery = self.delivery(event)
        self.lost.append(Lost(delivery, self._now))
        return delivery

    def delivery(self, event: Event, delivery_id: str = "") -> Delivery:
        """A message that tells of the event.

        Args:
            delivery_id: that of an earlier one makes it a repetition.
        """
        if isinstance(event, Ignored):
            return Delivery(delivery_id or f"d-{event.reason}", FORGE, "other", "null")
        if event not in self._told:
            self._told.append(event)
        number = self._told.index(event)
        return Delivery(delivery_id or f"d-{number}", FORGE, "change", json.dumps(number))

    # What it is asked.

    def expect(self, headers: Mapping[str, str]) -> Signed:
        """See `Webhooks.expect`. Its headers alone prove a delivery: the secret itself is one of them."""
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
        return self._told[int(json.loads(delivery.payload))]

    async def change(self, repository: Repository, number: int) -> Change | None:
        await self._turn()
        return self._asked(self._changes.get((repository.id, number)))

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

    def _change_of(self, event: ChangeSeen) -> Change:
        return self._changes[event.change.repository.id, event.change.number]

    def _happened(self, action: ChangeAction, change: Change) -> ChangeSeen:
        self._changes[change.repository.id, change.number] = change
        return ChangeSeen(action, change)

    def _moment(self) -> datetime:
        self._now += self._tick
        return self._now.replace(microsecond=0)

    @staticmethod
    def _asked(change: Change | None) -> Change | None:
        """As one is told who asks: what a head replaced, only a delivery says."""
        return replace(change, head_before="") if change else None


def whole(forge: FakeForge) -> Forge:
    """The forge as control knows one: every repository is in it."""
    return Forge(FORGE, forge, forge, forge, forge, forge, forge)
