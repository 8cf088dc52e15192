"""What must be so in the machine over the fakes: some of it always, and all of it once the faults stop."""

from __future__ import annotations

import itertools
from contextlib import suppress

from hypothesis.stateful import invariant, rule

from stager.domain.environment import (
    Depth,
    Environment,
    Instance,
    InstanceLabels,
    InstanceState,
    SuspensionReason,
)
from stager.domain.errors import Refused
from stager.domain.pull_requests.rules import refusal
from stager.domain.route import Endpoint
from stager.domain.service import MAIN_SERVICE
from stager.domain.source import Change, Trust
from stager.domain.status import State
from stager.ports.builder import BuildOrder
from stager.ports.engine import InstanceSpec
from tests.machine.base import SAID_BY_BASE, SAID_BY_HEAD, SECRET
from tests.machine.conftest import Mishaps
from tests.machine.expected import Held
from tests.machine.faults import Faults
from tests.machine.people import People

RESYNCED = 700.0
"""Seconds in which everything is looked at several times, and the forge asked twice."""
QUIET = 1300.0
"""Seconds after the last fault in which everything comes to rest, and what isn't used is cleared away."""


class Rest(People, Faults):
    """The promises."""

    def __init__(self) -> None:
        super().__init__()
        self._orders_seen = 0

    @invariant()
    def nothing_breaks(self) -> None:
        """No control plane ends by itself, and none meets a bug of ours."""
        assert Mishaps.seen == [], "\n".join(Mishaps.seen)
        assert self.unheard == [], "an exception that nobody waited for"
        if self._alive:
            assert not self.harness.running.task.done(), self.harness.running.task

    @invariant()
    def no_code_runs_that_may_not(self) -> None:
        """Neither in a container nor in a build, not for a moment; and strangers' code gets no secret."""
        for instance in self.engine.there():
            spec = self.engine.spec(instance.id)
            if spec.labels.change is not None:
                self._may_run(spec.labels.change.number, spec.labels)
                self._is_told_what_it_may_know(spec, spec.labels.change.number in self.foreign)
            if self.terms.builds and spec.labels.service == MAIN_SERVICE:
                made_by = self.harness.builder.made_by(spec.image)
                assert made_by.sha == spec.labels.revision.sha, "it was made of another commit"
                assert made_by.untrusted == (spec.labels.trust is Trust.FORK)
        orders = self.harness.builder.orders
        for order in orders[self._orders_seen :]:
            self._may_be_built(order)
        self._orders_seen = len(orders)
        assert self.harness.builder.running.total() <= self.terms.at_once

    def _may_run(self, number: int, labels: InstanceLabels) -> None:
        sha = labels.revision.sha
        assert sha in self.heads[number], "it runs what never was in it"
        if number in self.foreign:
            assert self._is_allowed(number, sha), f"unapproved code runs: {labels}"

    def _is_told_what_it_may_know(self, spec: InstanceSpec, is_foreign: bool) -> None:
        if spec.labels.service != MAIN_SERVICE:
            assert SECRET not in spec.variables.items()
            return
        assert (SECRET in spec.variables.items()) is not (is_foreign or spec.labels.trust is Trust.FORK)
        if self.terms.builds:
            said = SAID_BY_BASE if spec.labels.trust is Trust.FORK else SAID_BY_HEAD
            assert {SAID_BY_BASE, SAID_BY_HEAD} & spec.variables.keys() == {said}

    def _may_be_built(self, order: BuildOrder) -> None:
        assert SECRET in order.recipe.secrets.items() or order.untrusted
        if order.untrusted:
            assert not order.recipe.secrets
            heads = [(n, order.sha) for n, shas in self.heads.items() if order.sha in shas]
            assert any(self._is_allowed(*head) for head in heads), f"unapproved code is built: {order}"
        else:
            assert order.sha in self.ours, f"untrusted code is built as trusted: {order}"

    def _is_allowed(self, number: int, sha: str) -> bool:
        forks = self.terms.forks
        return forks == "open" or (forks == "approve" and (number, sha) in self.let_run)

    @invariant()
    def nothing_goes_that_was_never_closed(self) -> None:
        """Whatever the forge answers, or doesn't."""
        for environment in self._peek(lambda tx: tx.environments(present=False)):
            assert environment.change is None or environment.change.number in self.closed_once

    @rule()
    def faults_stop(self) -> None:
        """The one promise."""
        self._all_is_well_again()
        self.do(self._die())
        self.do(self._start(None))
        self.do(self.harness.rest(RESYNCED))
        self.lost_ones_arrive()
        self._set_aside_ones_arrive()
        self.do(self.harness.rest(QUIET))
        self.nothing_breaks()
        self.no_code_runs_that_may_not()
        self.nothing_goes_that_was_never_closed()
        self.do(self._wakes())
        self.do(self._is_at_rest())
        self._settle()

    async def _wakes(self) -> None:
        """What is live can sleep; what sleeps is paused or stopped, and a visit wakes it."""
        depths = itertools.cycle(Depth)
        for environment in await self.harness.environments(present=True):
            with suppress(Refused):
                power = self.harness.running.control_plane.environments.power
                await power.sleep(environment.id, next(depths))
        await self.harness.rest(60.0)
        for environment in await self.harness.environments(present=True):
            if not environment.desired.is_asleep:
                continue
            there = self.engine.there(environment.id)
            assert {i.state for i in there} <= {InstanceState.PAUSED, InstanceState.STOPPED}, there
            target = await self._visit(environment, QUIET)
            is_removed = not any(i.generation == environment.serving for i in there)
            assert is_removed or isinstance(target, Endpoint), (environment, target)
        await self.harness.rest(RESYNCED)

    async def _is_at_rest(self) -> None:
        harness = self.harness
        assert harness.running.problems == {}
        assert await harness.store.read(lambda tx: tx.next_delivery()) is None
        running: list[Instance] = []
        for environment in await harness.environments():
            running += await self._as_expected(environment)
        for change in self._truths():
            right = self.expected.heads(change.number, *self._right(change))
            assert self._running_of(change.number) in right, (change, right)
        for name in self.expected.names:
            assert self._running_as(name) in self.expected.versions(name), name
        await self._nothing_is_left_over(running)

    # What should run of a pull request, unless it was stopped manually.

    def _right(self, change: Change) -> set[str | None]:
        """The heads of which one should run; None where nothing may."""
        if not change.is_open:
            return {None}
        allowed = (
            {True}
            if self._policy_allows(change)
            else self.expected.is_let_run(change.number, change.head_sha)
        )
        if self._is_barred(change):
            allowed = {False}
        elif self._may_be_taken_for_decided(change):
            allowed = allowed | {True}
        return {None for allow in allowed if not allow} | {
            head for allow in allowed if allow for head in self._comes_of(change)
        }

    def _policy_allows(self, change: Change) -> bool:
        if change.trust is Trust.FORK and self.terms.forks != "open":
            return False
        return refusal(self.terms.rules, change) is None and self._checks_allow(change)

    def _checks_allow(self, change: Change) -> bool:
        return not self.terms.rules.wait_for_checks or change.head_sha in self.passed

    def _may_be_taken_for_decided(self, change: Change) -> bool:
        """What runs when the database is lost has had its checks, as far as anybody knows then."""
        if (change.number, change.head_sha) not in self.adopted or self._checks_allow(change):
            return False
        is_foreign = change.trust is Trust.FORK and self.terms.forks != "open"
        return not is_foreign and refusal(self.terms.rules, change) is None

    def _comes_of(self, change: Change) -> set[str | None]:
        """A head that can't be built takes nothing away: what served before it goes on, if anything did."""
        if change.head_sha not in self.failing:
            return {change.head_sha}
        return {None, *self.heads[change.number]} - {change.head_sha}

    async def _as_expected(self, environment: Environment) -> list[Instance]:
        """It says live and is, or says that it isn't and isn't; whether it should be is asked elsewhere."""
        status = await self.harness.status(environment)
        if not environment.desired.should_run:
            assert status.state in (State.GONE, State.STOPPED, State.REFUSED)
            assert environment.serving is None
            assert self.engine.there(environment.id) == []
            return []
        if environment.desired.revision.sha not in self.failing:
            assert status.state is State.LIVE, (environment, status)
            return await self._live(environment)
        if environment.serving is None:
            assert status.state is State.FAILED, (environment, status)
            assert self.engine.there(environment.id) == []
            return []
        assert status.state is State.FAILED_UPDATE, (environment, status)
        return await self._live(environment, generation=environment.serving)

    async def _live(self, environment: Environment, *, generation: int = 0) -> list[Instance]:
        if not self.terms.services:
            return [await self.harness.assert_live(environment, generation=generation)]
        there = self.engine.there(environment.id)
        instances = {instance.service: instance for instance in there}
        assert len(there) == 3, there
        assert {instance.state for instance in there} == {InstanceState.RUNNING}
        hosts = self._peek(lambda tx: tx.service_hosts(environment.id))
        assert self.harness.served(environment.host) == instances[MAIN_SERVICE]
        assert self.harness.served(hosts["admin"]) == instances["admin"]
        assert instances[MAIN_SERVICE].generation == environment.serving
        assert environment.serving == (generation or environment.desired.generation)
        reached = self.engine.reached(instances[MAIN_SERVICE].id, "db")
        assert reached == {instances["db"].id}
        return there

    async def _nothing_is_left_over(self, running: list[Instance]) -> None:
        harness = self.harness
        assert sorted(i.id for i in self.engine.there()) == sorted(i.id for i in running)
        assert await self.engine.sweep() == 0, "a network was left over"
        in_use = {self.engine.spec(i.id).image for i in running}
        of_present = {i.environment for i in running}
        deployed = self._peek(lambda tx: tx.all_deployments())
        kept = {image for d in deployed if d.environment_id in of_present for image in d.images}
        assert harness.builder.images <= in_use | kept, "an image was left over"
        assert not harness.builder.running
        assert not harness.sources.folders
        targets = [t for t in harness.router.table.routes.values() if isinstance(t, Endpoint)]
        assert sorted(map(str, targets)) == sorted(str(i.endpoint) for i in running if i.service != "db")
        environments = await harness.environments()
        hosts = {environment.host for environment in environments}
        hosts |= {h for each in self._peek(lambda tx: tx.all_service_hosts()).values() for h in each.values()}
        assert harness.router.table.routes.keys() == hosts
        keeping = {environment.id for environment in environments if environment.keeps_volumes}
        assert {environment for environment, *_ in self.engine.volume_names} <= keeping, "a volume was left"
        await self._stays_so()

    async def _stays_so(self) -> None:
        harness = self.harness
        asked, built, ids = (
            len(self.engine.asked),
            len(harness.builder.orders),
            [i.id for i in self.engine.there()],
        )
        await harness.rest(RESYNCED)
        assert [i.id for i in self.engine.there()] == ids, "it doesn't stay at rest"
        assert (len(self.engine.asked), len(harness.builder.orders)) == (asked, built), (
            "it doesn't stay at rest"
        )
        comments = [(c.repository_id, c.number) for c in harness.forge.comments if c.ours]
        assert len(comments) == len(set(comments)), "a second comment"

    def _settle(self) -> None:
        """What was in doubt is known now."""
        self.stops.clear()
        self.adopted.clear()
        for name in self.expected.names:
            self.expected.runs(name, self._running_as(name))
        for change in self._truths():
            self._settle_change(change)

    def _settle_change(self, change: Change) -> None:
        number, head = change.number, change.head_sha
        is_stopped = self._is_stopped_by_hand(number)
        assert not is_stopped or self.expected.held(number) is not Held.NO, "nobody stopped it"
        self.expected.hold(number, Held.YES if is_stopped else Held.NO)
        if change.is_open and not is_stopped and not self._policy_allows(change):
            self.expected.lets_run(number, head if self._running_of(number) == head else None)

    def _is_stopped_by_hand(self, number: int) -> bool:
        """Whether it says so."""
        known = self._of_change(number)
        suspension = known.desired.suspension if known is not None else None
        return suspension is not None and suspension.reason is SuspensionReason.KILLED
