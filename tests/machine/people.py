"""What people ask of the machine over the fakes: manual launches and kills, comments, and approvals of
strangers' commits. Some of them may not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from stager.domain.environment import Depth, Environment, SuspensionReason
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.pull_requests.comment_command import Verb, parse_command
from stager.domain.pull_requests.events import ChangeEvent, CommentAdded
from stager.domain.route import Target
from stager.domain.source import Trust
from stager.testing import FaultMode
from tests.machine.base import OURS, STRANGERS
from tests.machine.expected import Held
from tests.machine.pulls import CHANGES, ENOUGH, MESSAGES, SENT, Events, Pulls, Sent

T = TypeVar("T")

NAMES = st.sampled_from(["red", "feature-x", "by-hand"])
AUTHORS = st.sampled_from([OURS, OURS, STRANGERS])
VERBS = st.sampled_from([Verb.LAUNCH, Verb.REDEPLOY, Verb.KILL, Verb.LOGS])


class People(Pulls):
    """People launch, kill and approve, manually and in comments."""

    @rule(name=NAMES)
    @precondition(lambda self: self._alive)
    def launch(self, name: str) -> None:
        self.versions += 1
        version = str(self.versions)
        try:
            environment = self._answered(self.harness.launch(name, V=version))
        except Refused:
            return
        if environment is None:
            self._in_doubt(name, version)
        elif environment.change is None:
            self.expected.runs(name, version)
        else:
            self._is_brought_back(environment)

    @rule(name=NAMES)
    @precondition(lambda self: self._alive)
    def kill(self, name: str) -> None:
        knows = self._knows_everything()
        try:
            answer = self._answered(_in_a_tuple(self.harness.stop(name)))
        except Refused:
            return
        if answer is None:
            self._in_doubt(name, None)
        elif answer[0] is not None and answer[0].change is None:
            self.expected.runs(name, None)
        elif answer[0] is not None:
            self._is_stopped(answer[0], knows)

    @rule(change=CHANGES, stale=st.booleans())
    @precondition(lambda self: self._alive)
    def approve(self, change: ChangeEvent, stale: bool = False) -> None:
        """By the API: the commit that it has, or one that it had before."""
        number, sha = change.change.number, self._read(change, stale=stale)
        environment = self._of_change(number)
        if environment is None:
            return
        self.let_run.add((number, sha))
        approval = self.harness.running.commands.approve(environment.id, sha, Actor(OURS, "test"))
        try:
            answer = self._answered(approval)
        except Refused:
            return
        if answer is None:
            self.expected.may_let_run(number, sha)
            self.expected.may_be_held(number)
        else:
            self._is_brought_back(answer)

    @rule(target=MESSAGES, change=CHANGES)
    @precondition(lambda self: self._alive)
    def approve_and_push(self, change: ChangeEvent) -> Events:
        """What was approved comes up, and then its author pushes a commit that isn't approved."""
        self.approve(change)
        self.do(self.harness.rest(ENOUGH))
        return self.push_and_wait(change)

    @rule(target=MESSAGES, change=CHANGES, author=AUTHORS, stale=st.booleans(), sent=SENT)
    def approve_by_comment(
        self, change: ChangeEvent, author: str = OURS, stale: bool = False, sent: Sent = Sent.YES
    ) -> CommentAdded:
        sha = self._read(change, stale=stale)
        return self._said(change, f"/stager approve {sha}", author, sent)

    @rule(target=MESSAGES, change=CHANGES, author=AUTHORS, verb=VERBS, sent=SENT)
    def comment(
        self, change: ChangeEvent, verb: Verb, author: str = OURS, sent: Sent = Sent.YES
    ) -> CommentAdded:
        return self._said(change, f"/stager {verb}", author, sent)

    @rule(which=st.integers(0, 9), depth=st.sampled_from(Depth))
    @precondition(lambda self: self._alive)
    def sleep(self, which: int, depth: Depth) -> None:
        """An idle preview falls asleep, or stays awake because it isn't at rest."""
        environments = self._peek(lambda tx: tx.environments(present=True))
        if environments:
            chosen = environments[which % len(environments)]
            with suppress(Refused):
                self._answered(self.harness.running.control_plane.environments.power.sleep(chosen.id, depth))

    @rule(which=st.integers(0, 9), seconds=st.sampled_from([0.0, 0.2, 5.0]))
    def visit(self, which: int, seconds: float) -> None:
        """A visitor, who waits for so long. Nobody is answered by another preview."""
        environments = self._peek(lambda tx: tx.environments(present=True))
        if environments:
            self.do(self._visit(environments[which % len(environments)], seconds))

    async def _visit(self, environment: Environment, seconds: float) -> Target | None:
        """Where the visitor's request leads to; None if it still waits in the end."""
        try:
            async with asyncio.timeout(seconds), self.harness.router.visit(environment.host) as visit:
                answered_by = [i for i in self.engine.there() if i.endpoint and i.endpoint == visit.target]
                assert all(i.environment == environment.id for i in answered_by)
                return visit.target
        except TimeoutError:
            return None

    def _said(self, change: ChangeEvent, text: str, author: str, sent: Sent) -> CommentAdded:
        event = self.harness.forge.say(change, text, author)
        calm = self._is_calm(event)
        self._send(event, sent)
        if calm and sent is Sent.YES:
            self._is_heard_out(event)
        return event

    def _is_calm(self, event: CommentAdded) -> bool:
        """Whether it will be parse_command at once, and by a user who knows the current state."""
        if not (self.credentials and self._alive and self._knows_everything()):
            return False
        known, truth = self._of_change(event.number), self.truth(event.number)
        is_up_to_date = known is not None and known.desired.revision.sha == truth.head_sha
        return self.harness.forge.fault_mode is FaultMode.WELL and truth.is_open and is_up_to_date

    def _is_heard_out(self, event: CommentAdded) -> None:
        """Its author waits for the answer, and relies on it."""
        if self._answered(self._worked_through()) is None or "rocket" not in self._reactions(event):
            return
        environment = self._of_change(event.number)
        if environment is not None:
            self._is_brought_back(environment)

    async def _worked_through(self) -> bool:
        while not self._knows_everything():
            await asyncio.sleep(0.01)
        return True

    def _reactions(self, event: CommentAdded) -> list[str]:
        return [r for c in self.harness.forge.comments if c.id == event.comment for r in c.reactions]

    # What that means for what should run.

    def _listens(self, event: CommentAdded) -> None:
        if event.author != OURS or not self.credentials:
            return
        speech = parse_command(event.text)
        match speech.verb if speech else None:
            case Verb.APPROVE:
                meant = [s for s in self.heads[event.number] if s.startswith(event.text.split()[-1])]
                self.let_run |= {(event.number, sha) for sha in meant}
                self.expected.may_let_run(event.number, *meant)
                self._may_come_back(event.number)
            case Verb.LAUNCH | Verb.REDEPLOY:
                self._may_be_anything(event.number)
                self._may_come_back(event.number)
            case Verb.KILL:
                self.expected.may_be_held(event.number)

    def _may_be_anything(self, number: int) -> None:
        """Which commit this lets run depends on when it is parse_command."""
        self.expected.may_let_run(number, *self.heads[number])

    def _is_brought_back(self, environment: Environment) -> None:
        """A user got the answer that it is launched."""
        assert environment.change is not None
        number, sha = environment.change.number, environment.desired.revision.sha
        in_doubt = self._has_to_hear(number)
        self.expected.hold(number, Held.MAYBE if in_doubt else Held.NO)
        is_killed_fork = environment.approved_sha != sha and environment.desired.trust is Trust.FORK
        if environment.approved_sha != sha and not is_killed_fork:
            return
        if in_doubt or is_killed_fork:  # the latter runs until the rules are evaluated again
            self.expected.may_let_run(number, sha)
        else:
            self.expected.lets_run(number, sha)

    def _is_stopped(self, environment: Environment, knows: bool) -> None:
        """What it doesn't know of yet may bring it back. What waits for an approval isn't stopped by this."""
        assert environment.change is not None
        suspension = environment.desired.suspension
        if suspension is None or suspension.reason is not SuspensionReason.KILLED:
            return
        change = self.truth(environment.change.number)
        certain = knows and change.is_open and change.head_sha == environment.desired.revision.sha
        self.expected.hold(change.number, Held.YES if certain else Held.MAYBE)

    def _in_doubt(self, name: str, version: str | None) -> None:
        """It was killed before it answered: what was asked for may have been written down, or not."""
        self.expected.may_run(name, version)
        for number in self._numbers(name):
            self.expected.may_be_held(number)
            if version is not None:
                self._may_be_anything(number)

    def _read(self, change: ChangeEvent, *, stale: bool) -> str:
        """The commit that was reviewed."""
        heads = self.heads[change.change.number]
        return heads[-2:][0] if stale else heads[-1]


async def _in_a_tuple(call: Coroutine[Any, Any, T]) -> tuple[T]:
    return (await call,)
