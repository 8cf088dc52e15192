"""What happens to pull requests at the forge of the machine over the fakes.

Each happening may be told, be lost on its way so that the forge tries again, or never be told; and what was
told may be told once more, or late.
"""

from __future__ import annotations

from enum import Enum, auto

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, multiple, precondition, rule

from stager.domain.errors import Fault
from stager.domain.pull_requests.events import ChangeAction, ChangeEvent, CommentAdded, Event
from stager.domain.source import Change, Repository
from stager.ports.forge import Checks
from stager.testing.fakes.builder import Result
from tests.machine.expected import Held
from tests.machine.ground import Ground

REFS = st.sampled_from(["red", "feature/x", "feature-x", "default"])
"""Two of them make the same slug, and one is reserved."""
OWNERS, REPOSITORY_NAMES = st.sampled_from(["acme", "acme-corp"]), st.sampled_from(["shop", "store"])
LABELS = st.sampled_from([(), ("preview",), ("preview", "docs"), ("wip",)])

Told = ChangeEvent | MultipleResults[ChangeEvent]


class Telling(Enum):
    """Whether the forge's message arrives."""

    YES = auto()
    LOST = auto()
    """Not at the first try, which the forge remembers."""
    NO = auto()


class Built(Enum):
    """What comes of a commit where images are built."""

    SOON = auto()
    LATE = auto()
    NEVER = auto()


TELLINGS = st.sampled_from([Telling.YES, Telling.YES, Telling.LOST, Telling.NO])
BUILT = st.sampled_from([Built.SOON, Built.SOON, Built.LATE, Built.NEVER])
FORKS = st.sampled_from([None, None, None, 0, 1])
ENOUGH = 5.0
"""Seconds in which a commit is fetched, built, started and asked, if nothing gets in its way."""


CHANGES, MESSAGES = Bundle("changes"), Bundle("messages")


class Pulls(Ground):
    """Pull requests come, change and go."""

    def __init__(self) -> None:
        super().__init__()
        self.repeated = 0
        self.checked: set[str] = set()

    @rule(
        target=CHANGES, ref=REFS, fork=FORKS, labels=LABELS, draft=st.booleans(), built=BUILT, told=TELLINGS
    )
    def open(
        self,
        ref: str,
        fork: int | None = None,
        labels: tuple[str, ...] = (),
        draft: bool = False,
        built: Built = Built.SOON,
        told: Telling = Telling.YES,
    ) -> ChangeEvent:
        return self._opened(ref, self._commit(built), fork, labels, draft, told)

    @rule(target=CHANGES, ref=REFS, fork=st.sampled_from([None, None, 0]))
    def open_and_wait(self, ref: str, fork: int | None) -> ChangeEvent:
        """As on most days, with the time that it takes to come up: much can only go wrong with what runs."""
        event = self._opened(ref, self._commit(Built.SOON), fork, ("preview",), False, Telling.YES)
        self.do(self.harness.rest(ENOUGH))
        return event

    @rule(target=MESSAGES, change=CHANGES)
    def push_and_wait(self, change: ChangeEvent) -> Told:
        told = self.push(change)
        self.do(self.harness.rest(ENOUGH))
        return told

    @rule(target=CHANGES, ref=REFS, fork=FORKS, like=CHANGES, told=TELLINGS)
    def open_like_another(self, ref: str, fork: int | None, like: ChangeEvent, told: Telling) -> ChangeEvent:
        """With the very commit of another one, which may be a stranger's."""
        change = self._now(like)
        return self._opened(ref, change.head_sha, fork, change.labels, change.draft, told)

    def _opened(
        self, ref: str, sha: str, fork: int | None, labels: tuple[str, ...], draft: bool, told: Telling
    ) -> ChangeEvent:
        forge, head = self.harness.forge, None if fork is None else self.forks[fork]
        event = forge.open(self._repository(), ref, sha, fork=head, labels=labels, draft=draft)
        if fork is not None:
            self.foreign.add(event.change.number)
        return self._happened(event, told)

    @rule(target=MESSAGES, change=CHANGES, built=BUILT, told=TELLINGS)
    def push(self, change: ChangeEvent, built: Built = Built.SOON, told: Telling = Telling.YES) -> Told:
        if not self._is_open(change):
            return multiple()
        return self._happened(self.harness.forge.push(change, self._commit(built)), told)

    @rule(target=MESSAGES, change=CHANGES, merged=st.booleans(), head_goes=st.booleans(), told=TELLINGS)
    def close(
        self,
        change: ChangeEvent,
        merged: bool = False,
        head_goes: bool = False,
        told: Telling = Telling.YES,
    ) -> Told:
        if not self._is_open(change):
            return multiple()
        event = self.harness.forge.close(change, merged=merged)
        if head_goes:
            self.harness.forge.delete_head(change)
        return self._happened(event, told)

    @rule(target=MESSAGES, change=CHANGES, told=TELLINGS)
    def reopen(self, change: ChangeEvent, told: Telling = Telling.YES) -> Told:
        if self._is_open(change):
            return multiple()
        return self._happened(self.harness.forge.reopen(change), told)

    @rule(target=MESSAGES, change=CHANGES, labels=LABELS, draft=st.booleans(), told=TELLINGS)
    def edit(
        self, change: ChangeEvent, labels: tuple[str, ...], draft: bool, told: Telling = Telling.YES
    ) -> ChangeEvent:
        return self._happened(self.harness.forge.edit(change, labels=labels, draft=draft), told)

    @rule(change=CHANGES, outcome=st.sampled_from(["pending", "success", "failure"]), told=TELLINGS)
    @precondition(lambda self: self.terms.rules.wait_for_checks)
    def checks_end(self, change: ChangeEvent, outcome: Checks, told: Telling) -> None:
        """As no commit's checks end twice, it is clear what should come of it."""
        sha = self._now(change).head_sha
        if sha in self.checked:
            return
        if outcome != "pending":
            self.checked.add(sha)
        if outcome == "success":
            self.passed.add(sha)
        self._told(self.harness.forge.check(self._repository(), sha, outcome), told)

    @rule(change=CHANGES)
    def head_repository_is_deleted(self, change: ChangeEvent) -> None:
        if change.change.number in self.foreign:
            self.harness.forge.delete_head(change)

    @rule(owner=OWNERS, name=REPOSITORY_NAMES)
    @precondition(lambda self: self.credentials or self._knows_repository())
    def repository_is_renamed(self, owner: str, name: str) -> None:
        """Or transferred, or both; or its old name comes back to it."""
        taken = (r for r in self.harness.forge.repositories if (r.owner, r.name) == (owner, name))
        if next(taken, None) is None:
            self.harness.forge.rename(self.repository, owner, name)

    @rule(owner=OWNERS, name=REPOSITORY_NAMES)
    @precondition(lambda self: self._knows_repository())
    def name_is_given_to_another(self, owner: str, name: str) -> None:
        """A new repository has a name that was ours once, or might be."""
        if all((r.owner, r.name) != (owner, name) for r in self.harness.forge.repositories):
            self.harness.forge.add_repository(owner, name)
            self.is_replaced = True

    # Messages that come late, once more, or after all.

    @rule(message=MESSAGES | CHANGES, afresh=st.booleans())
    def deliver(self, message: ChangeEvent | CommentAdded, afresh: bool) -> None:
        """Late, or once more, with the id that it had or with another one."""
        self.repeated += afresh
        self._tell(message, f"again-{self.repeated}" if afresh else "")

    @rule()
    def lost_ones_arrive(self) -> None:
        """Those that the forge was asked to send again."""
        again, self.harness.forge.redelivered = self.harness.forge.redelivered, []
        for delivery in again:
            self._tell(self.harness.forge.read(delivery), delivery.id)

    def _set_aside_ones_arrive(self) -> None:
        """A person has the forge send again what was set aside. Comments are out of date by then."""
        receipts = self.harness.store._tables.receipts
        for found in self._peek(lambda tx: tx.deliveries_set_aside()):
            event = self.harness.forge.read(receipts[found.forge, found.delivery].delivery)
            if isinstance(event, ChangeEvent):
                self._tell(event, found.delivery)

    def _happened(self, event: ChangeEvent, told: Telling) -> ChangeEvent:
        self._witness(event)
        self._know(event)
        self._told(event, told)
        return event

    def _told(self, event: Event, told: Telling) -> None:
        match told:
            case Telling.YES:
                self._tell(event)
            case Telling.LOST:
                self.harness.forge.lose(event)
            case Telling.NO:
                pass

    def _tell(self, event: Event, delivery_id: str = "") -> None:
        delivery = self.harness.forge.delivery(event, delivery_id)
        if self._alive:
            self._answered(self.harness.running.webhooks.receive(delivery))
        if (delivery.forge, delivery.id) in self.harness.store._tables.receipts:
            self._heard(event)

    # What that means for what should run.

    def _witness(self, event: ChangeEvent) -> None:
        """What is true whoever knows of it."""
        change = event.change
        self.heads.setdefault(change.number, []).append(change.head_sha)
        if change.number not in self.foreign:
            self.ours.add(change.head_sha)
        if event.action is ChangeAction.CLOSED:
            self.closed_once.add(change.number)

    def _know(self, event: ChangeEvent) -> None:
        """The forge can be asked, so a push is found even if nobody tells of it."""
        number = event.change.number
        if event.action is ChangeAction.SYNCHRONIZE:
            self.expected.hold(number, Held.MAYBE if self._has_to_hear(number) else Held.NO)
        elif event.action in (ChangeAction.CLOSED, ChangeAction.REOPENED):
            self._may_come_back(number)

    def _heard(self, event: Event) -> None:
        if isinstance(event, CommentAdded):
            self._listens(event)
        elif isinstance(event, ChangeEvent) and event.action is ChangeAction.REOPENED:
            self._may_come_back(event.change.number)

    def _listens(self, event: CommentAdded) -> None:
        """What a comment says may be done."""

    def _may_come_back(self, number: int) -> None:
        if self.expected.held(number) is Held.YES:
            self.expected.hold(number, Held.MAYBE)

    # Small things.

    def _now(self, change: ChangeEvent) -> Change:
        """How it stands at the forge."""
        return next(c for c in self.harness.forge.changes if c.number == change.change.number)

    def _is_open(self, change: ChangeEvent) -> bool:
        return self._now(change).is_open

    def _repository(self) -> Repository:
        """The repository as it is called now."""
        return next(r for r in self.harness.forge.repositories if r.id == self.repository.id)

    def _commit(self, built: Built) -> str:
        """A commit that is new."""
        sha = self._sha()
        if built is Built.NEVER and self.terms.builds:
            self.failing.add(sha)
        failure = Fault("RUN make failed.", reason="build-failed") if built is Built.NEVER else None
        seconds = 30.0 if built is Built.LATE else 1.0
        self.harness.builder.results[sha] = Result(failure=failure, seconds=seconds)
        return sha
