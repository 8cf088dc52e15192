"""A forge in memory: pull requests that a test opens and closes, at a forge of any mood.

It is all of `stager.ports.forge` in one. What happens in it comes back as the event that a webhook would tell
of; whether, when and how often that is delivered is the test's to decide.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from stager.domain.environment import ChangeLink
from stager.domain.errors import Refused, Retry
from stager.domain.events import ChangeAction, ChangeSeen, Delivery, Event, Ignored
from stager.domain.source import Change, Repository
from stager.testing.clock import START

FORGE = "fake"
SLOW_SECONDS = 10.0


class Mood(Enum):
    """How the forge answers what it is asked."""

    WELL = auto()
    SLOW = auto()
    """After `SLOW_SECONDS`."""
    NEVER = auto()
    FAILING = auto()
    """It can't be reached."""
    PARTIAL = auto()
    """Lists break off in the middle, so that they are no answer."""
    REFUSING = auto()
    """It says no to whatever we want to write."""


@dataclass(slots=True)
class Comment:
    """A comment in a pull request's conversation.

    Args:
        ours: whether Stager's account wrote it.
        edits: how often it was edited.
    """

    id: str
    repository_id: str
    number: int
    body: str
    ours: bool = True
    edits: int = 0


class FakeForge:
    """See `stager.ports.forge`: `Webhooks`, `Changes` and `Reports`.

    Args:
        tick: the time between two happenings; stamps count whole seconds, as on GitHub.
        secret: what `receive` wants to find in the header `authorization`.

    Attributes:
        mood: how it answers.
        comments: all of them, oldest first.
    """

    def __init__(self, *, tick: float = 1.0, secret: str = "") -> None:
        self.mood = Mood.WELL
        self.comments: list[Comment] = []
        self._tick = timedelta(seconds=tick)
        self._secret = secret
        self._now = START
        self._repositories: list[Repository] = []
        self._changes: dict[tuple[str, int], Change] = {}
        self._told: list[ChangeSeen] = []
        self._written = 0

    # What happens in it.

    def add_repository(self, owner: str, name: str) -> Repository:
        """A repository. Raises nothing when there is one of this name: a name may be given anew."""
        repository = Repository(str(len(self._repositories) + 101), owner, name)
        self._repositories.append(repository)
        return repository

    def open(
        self,
        repository: Repository,
        ref: str,
        sha: str,
        *,
        fork: Repository | None = None,
        title: str = "A change",
        author: str = "octocat",
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
        )
        return self._happened(ChangeAction.OPENED, change)

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

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """See `Webhooks.receive`. The header `x-fake-delivery` has the id, the body is `Delivery.payload`."""
        if headers.get("authorization", "") != self._secret:
            raise Refused("The delivery's secret is wrong.", reason="signature-wrong", status=401)
        return Delivery(headers.get("x-fake-delivery", ""), FORGE, "change", body.decode())

    def read(self, delivery: Delivery) -> Event:
        if delivery.event != "change":
            return Ignored(f"event {delivery.event} has no effect")
        return self._told[int(json.loads(delivery.payload))]

    async def change(self, repository: Repository, number: int) -> Change | None:
        await self._turn()
        return self._asked(self._changes.get((repository.id, number)))

    async def open_changes(self, repository: Repository) -> list[Change]:
        await self._turn()
        if self.mood is Mood.PARTIAL:
            raise Retry("The forge's answer breaks off.", reason="forge-unreadable")
        own = [c for c in self._changes.values() if c.repository.id == repository.id and c.is_open]
        return [replace(change, head_before="") for change in own]

    async def repository(self, owner: str, name: str) -> Repository | None:
        await self._turn()
        return next((r for r in self._repositories if (r.owner, r.name) == (owner, name)), None)

    async def comment(self, change: ChangeLink, *, marker: str, body: str, known: str) -> str:
        await self._turn()
        if self.mood is Mood.REFUSING:
            raise Refused("The forge lets nobody comment here.", reason="forge-refused", status=403)
        text = body if marker in body else f"{body}\n\n{marker}"
        found = self._find(change, marker, known)
        if found is None:
            return self._add(change.repository_id, change.number, text, ours=True).id
        found.body = text
        found.edits += 1
        return found.id

    async def uncomment(self, change: ChangeLink, *, marker: str, known: str) -> None:
        await self._turn()
        if self.mood is Mood.REFUSING:
            raise Refused("The forge lets nobody comment here.", reason="forge-refused", status=403)
        found = self._find(change, marker, known)
        if found is not None:
            self.comments.remove(found)

    async def _turn(self) -> None:
        if self.mood is Mood.NEVER:
            await asyncio.Event().wait()
        await asyncio.sleep(SLOW_SECONDS if self.mood is Mood.SLOW else 0)
        if self.mood is Mood.FAILING:
            raise Retry("The forge can't be reached.", reason="forge-away")

    def _find(self, change: ChangeLink, marker: str, known: str) -> Comment | None:
        """Our comment; one that somebody else wrote with our marker isn't."""
        place = (change.repository_id, change.number)
        ours = [c for c in self.comments if c.ours and (c.repository_id, c.number) == place]
        found = [c for c in ours if c.id == known] or [c for c in ours if marker in c.body]
        return found[0] if found else None

    def _add(self, repository_id: str, number: int, body: str, *, ours: bool) -> Comment:
        self._written += 1
        comment = Comment(str(self._written), repository_id, number, body, ours)
        self.comments.append(comment)
        return comment

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
