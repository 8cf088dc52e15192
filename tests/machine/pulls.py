"""What happens to pull requests at the forge of the machine over the fakes.

Each event may be delivered, be lost on its way so that the forge tries again, or never be delivered; and
what was delivered may be delivered once more, or late.
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
from tests.machine.base import BaseMachine
from tests.machine.expected import Held

REFS = st.sampled_from(["red", "feature/x", "feature-x", "default"])
"""Two of them make the same slug, and one is reserved."""
OWNERS, REPOSITORY_NAMES = st.sampled_from(["acme", "acme-corp"]), st.sampled_from(["shop", "store"])
LABELS = st.sampled_from([(), ("preview",), ("preview", "docs"), ("wip",)])

Events = ChangeEvent | MultipleResults[ChangeEvent]


class Sent(Enum):
    """Whether the forge sends a delivery, and whether it arrives."""

    YES = auto()
    LOST = auto()
    """The first attempt fails, which the forge records."""
    NO = auto()


class Built(Enum):
    """What comes of a commit where images are built."""

    SOON = auto()
    LATE = auto()
    NEVER = auto()


SENT = st.sampled_from([Sent.YES, Sent.YES, Sent.LOST, Sent.NO])
BUILT = st.sampled_from([Built.SOON, Built.SOON, Built.LATE, Built.NEVER])
FORKS = st.sampled_from([None, None, None, 0, 1])
ENOUGH = 5.0
"""Seconds in which a commit is fetched, built, started and asked, if nothing gets in its way."""


CHANGES, MESSAGES = Bundle("changes"), Bundle("messages")


class Pulls(BaseMachine):
    """Pull requests come, change and go."""

    def __init__(self) -> None:
        super().__init__()
        self.repeated = 0
        self.checked: set[str] = set()

    @rule(target=CHANGES, ref=REFS, fork=FORKS, labels=LABELS, draft=st.booleans(), built=BUILT, sent=SENT)
    def open(
        self,
        ref: str,
        fork: int | None = None,
        labels: tuple[str, ...] = (),
        draft: bool = False,
        built: Built = Built.SOON,
        sent: Sent = Sent.YES,
    ) -> ChangeEvent:
        return self._opened(ref, self._commit(built), fork, labels, draft, sent)

    @rule(target=CHANGES, ref=REFS, fork=st.sampled_from([None, None, 0]))
    def open_and_wait(self, ref: str, fork: int | None) -> ChangeEvent:
        """As on most days, with the time that it takes to come up: much can only go wrong with what runs."""
        event = self._opened(ref, self._commit(Built.SOON), fork, ("preview",), False, Sent.YES)
        self.do(self.harness.rest(ENOUGH))
        return event

    @rule(target=MESSAGES, change=CHANGES)
    def push_and_wait(self, change: ChangeEvent) -> Events:
        sent = self.push(change)
        self.do(self.harness.rest(ENOUGH))
        return sent

    @rule(target=CHANGES, ref=REFS, fork=FORKS, like=CHANGES, sent=SENT)
    def open_like_another(self, ref: str, fork: int | None, like: ChangeEvent, sent: Sent) -> ChangeEvent:
        """With the very commit of another one, which may be a stranger's."""
        change = self._now(like)
        return self._opened(ref, change.head_sha, fork, change.labels, change.draft, sent)

    def _opened(
        self, ref: str, sha: str, fork: int | None, labels: tuple[str, ...], draft: bool, sent: Sent
    ) -> ChangeEvent:
        forge, head = self.harness.forge, None if fork is None else self.forks[fork]
        event = forge.open(self._repository(), ref, sha, fork=head, labels=labels, draft=draft)
        if fork is not None:
            self.foreign.add(event.change.number)
        return self._happened(event, sent)

    @rule(target=MESSAGES, change=CHANGES, built=BUILT, sent=SENT)
    def push(self, change: ChangeEvent, built: Built = Built.SOON, sent: Sent = Sent.YES) -> Events:
        if not self._is_open(change):
            return multiple()
        return self._happened(self.harness.forge.push(change, self._commit(built)), sent)

    @rule(target=MESSAGES, change=CHANGES, merged=st.booleans(), head_goes=st.booleans(), sent=SENT)
    def close(
        self,
        change: ChangeEvent,
        merged: bool = False,
        head_goes: bool = False,
        sent: Sent = Sent.YES,
    ) -> Events:
        if not self._is_open(change):
            return multiple()
        event = self.harness.forge.close(change, merged=merged)
        if head_goes:
            self.harness.forge.delete_head(change)
        return self._happened(event, sent)

    @rule(target=MESSAGES, change=CHANGES, sent=SENT)
    def reopen(self, change: ChangeEvent, sent: Sent = Sent.YES) -> Events:
        if self._is_open(change):
            return multiple()
        return self._happened(self.harness.forge.reopen(change), sent)

    @rule(target=MESSAGES, change=CHANGES, labels=LABELS, draft=st.booleans(), sent=SENT)
    def edit(
        self, change: ChangeEvent, labels: tuple[str, ...], draft: bool, sent: Sent = Sent.YES
    ) -> ChangeEvent:
        return self._happened(self.harness.forge.edit(change, labels=labels, draft=draft), sent)

    @rule(change=CHANGES, outcome=st.sampled_from(["pending", "success", "failure"]), sent=SENT)
    @precondition(lambda self: self.terms.rules.wait_for_checks)
    def checks_end(self, change: ChangeEvent, outcome: Checks, sent: Sent) -> None:
        """As no commit's checks end twice, it is clear what should come of it."""
        sha = self._now(change).head_sha
        if sha in self.checked:
            return
        if outcome != "pending":
            self.checked.add(sha)
        if outcome == "success":
            self.passed.add(sha)
        self._send(self.harness.forge.check(self._repository(), sha, outcome), sent)

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
        self._deliver(message, f"again-{self.repeated}" if afresh else "")

    @rule()
    def lost_ones_arrive(self) -> None:
        """Those that the forge was asked to send again."""
        again, self.harness.forge.redelivered = self.harness.forge.redelivered, []
        for delivery in again:
            self._deliver(self.harness.forge.read(delivery), delivery.id)

    def _set_aside_ones_arrive(self) -> None:
        """A person has the forge send again what was set aside. Comments are out of date by then."""
        receipts = self.harness.store._tables.receipts
        for found in self._peek(lambda tx: tx.deliveries_set_aside()):
            event = self.harness.forge.read(receipts[found.forge, found.delivery].delivery)
            if isinstance(event, ChangeEvent):
                self._deliver(event, found.delivery)

    def _happened(self, event: ChangeEvent, sent: Sent) -> ChangeEvent:
        self._witness(event)
        self._know(event)
        self._send(event, sent)
        return event

    def _send(self, event: Event, sent: Sent) -> None:
        match sent:
            case Sent.YES:
                self._deliver(event)
            case Sent.LOST:
                self.harness.forge.lose(event)
            case Sent.NO:
                pass

    def _deliver(self, event: Event, delivery_id: str = "") -> None:
        delivery = self.harness.forge.delivery(event, delivery_id)
        if self._alive:
            self._answered(self.harness.running.inbox.receive(delivery))
        if (delivery.forge, delivery.id) in self.harness.store._tables.receipts:
            self._heard(event)

    # What that means for what should run.

    def _witness(self, event: ChangeEvent) -> None:
        """The current state at the forge."""
        change = event.change
        self.heads.setdefault(change.number, []).append(change.head_sha)
        if change.number not in self.foreign:
            self.ours.add(change.head_sha)
        if event.action is ChangeAction.CLOSED:
            self.closed_once.add(change.number)

    def _know(self, event: ChangeEvent) -> None:
        """The forge can be read, so a push is found without a delivery."""
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
