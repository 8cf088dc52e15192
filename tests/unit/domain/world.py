"""A world in miniature for `plan`: it carries actions out, well or badly, and keeps the promises in sight."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stager.domain import plan as planning
from stager.domain.environment import Attempt, Desired, Instance, InstanceState, Observed
from stager.domain.errors import Outcome
from stager.domain.route import Endpoint

START = datetime(2026, 1, 1, tzinfo=UTC)
BROKEN = Outcome("fault", "broken", "It is broken.")


def endpoint(number: int) -> Endpoint:
    return Endpoint(f"10.200.0.{number}", 3000)


class World:
    """One environment whose actions take effect at once.

    Args:
        starts: whether instances can be started at all.
        answers: whether a started instance answers.
    """

    def __init__(
        self, desired: Desired, observed: Observed, *, starts: bool = True, answers: bool = True
    ) -> None:
        self.desired = desired
        self.observed = observed
        self.starts = starts
        self.answers = answers
        self.now = START
        self.made = 100

    def rest(self, limit: int = 60) -> list[planning.Action]:
        """Plan and act until there is nothing to do; the actions taken."""
        taken: list[planning.Action] = []
        for _ in range(limit):
            action = planning.plan(self.desired, self.observed, self.now)
            if action is None:
                return taken
            self._keeps_its_promises(action)
            taken.append(action)
            self.act(action)
        raise AssertionError(f"no rest after {limit} actions: {taken[-6:]}")

    def _keeps_its_promises(self, action: planning.Action) -> None:
        if isinstance(action, planning.Publish):
            assert self.observed.is_healthy(action.instance), "published what isn't healthy"
        if isinstance(action, planning.Retire):
            assert action.instance != self.observed.serving, "stopped what is published"
        if isinstance(action, planning.Unpublish) and self.desired.should_run:
            assert self.observed.serving is None, "took a serving instance out of the table"

    def act(self, action: planning.Action) -> None:  # noqa: C901 (one case an action)
        match action:
            case planning.Start(generation) if self.starts:
                self.made += 1
                made = Instance(
                    f"i{self.made}",
                    "e",
                    "web",
                    "d",
                    generation,
                    InstanceState.RUNNING,
                    started_at="t0",
                    endpoint=endpoint(self.made),
                )
                self._set_instances((*self.observed.instances, made))
            case planning.Start(generation):
                self._set_attempt(replace(self.observed.attempt(generation), final=True, outcome=BROKEN))
            case planning.Resume(instance):
                self._resume(instance)
            case planning.Check(instance) if self.answers:
                attempt = self.observed.attempt(instance.generation)
                self._set_attempt(replace(attempt, healthy_run=instance.run))
            case planning.Check(instance):
                attempt = self.observed.attempt(instance.generation)
                self._set_attempt(replace(attempt, final=True, outcome=BROKEN))
            case planning.Publish(instance):
                self.observed = replace(self.observed, published=instance.endpoint)
            case planning.Unpublish():
                self.observed = replace(self.observed, published=None)
            case planning.Retire(instance):
                self._set_instances(tuple(i for i in self.observed.instances if i != instance))
            case planning.Record(instance):
                self._record(instance)
            case planning.Wait(until):
                assert until > self.now, "waits for the past"
                self.now = until

    def _resume(self, instance: Instance) -> None:
        self.made += 1
        running = replace(
            instance,
            state=InstanceState.RUNNING,
            started_at=f"t{self.made}",
            endpoint=endpoint(self.made),
            exit_code=None,
        )
        self._set_instances(tuple(running if i == instance else i for i in self.observed.instances))
        self._set_attempt(replace(self.observed.attempt(instance.generation), retry_at=None))

    def _record(self, instance: Instance) -> None:
        attempt = self.observed.attempt(instance.generation)
        failures = attempt.failures + 1
        self._set_attempt(
            replace(
                attempt,
                failures=failures,
                final=failures >= 3,
                retry_at=self.now + timedelta(seconds=failures),
                outcome=BROKEN,
            )
        )

    def _set_instances(self, instances: tuple[Instance, ...]) -> None:
        self.observed = replace(self.observed, instances=instances)

    def _set_attempt(self, attempt: Attempt) -> None:
        others = tuple(a for a in self.observed.attempts if a.generation != attempt.generation)
        self.observed = replace(self.observed, attempts=(*others, attempt))
