"""A simulated environment for `plan`: what each action may lead to, and the promises that each must keep.

The promises are checked without the code of `stager.domain.generation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from stager.domain import plan as planning
from stager.domain.attempt import Attempt, Ending, after_answer, after_error, after_exit, after_start
from stager.domain.environment import WEB_SERVICE, Depth, Desired, Instance, InstanceState, Service
from stager.domain.errors import Fault, Outcome
from stager.domain.observed import Observed
from stager.domain.route import Endpoint
from stager.domain.service import Condition

START = datetime(2026, 1, 1, tzinfo=UTC)
DUE = START - timedelta(seconds=5)
BROKEN = Outcome("fault", "broken", "It is broken.")
WEB = WEB_SERVICE


def endpoint(instance: str, run: str) -> Endpoint:
    return Endpoint(f"{instance}-{run}", 3000)


def instance_of(service: str, generation: int, state: str, inputs: str = "", **more: object) -> Instance:
    """An instance in its first run, or created."""
    id_, run = f"{service}.{generation}.0", "" if state == "created" else "t1"
    is_running = state == "running"
    return replace(
        Instance(id_, "e", service, f"d{generation}", generation, InstanceState(state), run),
        exit_code=1 if state == "stopped" else None,
        endpoint=endpoint(id_, run) if is_running else None,
        inputs=inputs,
        **more,  # type: ignore[arg-type]
    )


@dataclass(frozen=True)
class World:
    """One environment.

    Args:
        declared: the services that `Prepare` finds.
        live: the generations that have been live.
    """

    desired: Desired
    observed: Observed
    declared: tuple[Service, ...] = (WEB,)
    live: frozenset[int] = frozenset()

    def plan(self) -> planning.Action | None:
        return planning.plan(self.desired, self.observed, START)

    def rest(self, limit: int = 60) -> tuple[World, list[planning.Action]]:
        """Plan and act, always with success, until there is nothing to do; the actions taken."""
        world, taken = self, list[planning.Action]()
        while (action := world.plan()) is not None:
            world.check(action)
            taken.append(action)
            assert len(taken) < limit, f"no rest: {taken[-6:]}"
            world = next(world.outcomes(action))
        return world, taken

    @property
    def key(self) -> object:
        """Equal for equal worlds."""
        attempts = tuple(
            (
                *(a.generation, a.failures, a.retry_at, a.final, a.outcome is None),
                frozenset(a.healthy_runs.items()),
                frozenset(a.failed_services.items()),
            )
            for a in sorted(self.observed.attempts, key=lambda a: a.generation)
        )
        return (
            frozenset(self.observed.instances),
            frozenset(self.observed.published.items()),
            attempts,
            frozenset(self.observed.services),
            self.live,
            self.observed.asleep_runs,
            self.desired.run,
        )

    # What actions lead to.

    def outcomes(self, action: planning.Action) -> Iterator[World]:  # noqa: C901 (one case an action)
        """What the action may lead to; success first."""
        match action:
            case planning.Prepare(generation):
                services = {**self.observed.services, generation: self.declared}
                yield self._with(replace(self.observed, services=services))
                yield self._failed(generation, None)
            case planning.Start(generation, name):
                yield from self._started(generation, self.observed.service(generation, name))
            case planning.Resume(instance, generation):
                yield self._running(instance, generation)
                yield self._failed(generation, instance)
            case planning.Join(instance, generation):
                joined = replace(instance, generations=instance.generations | {generation})
                yield self._replaced(instance, joined)
                yield self._failed(generation, instance)
            case planning.Check(instance, generation):
                yield from self._checked(instance, generation)
            case planning.Record(instance, generation):
                yield self._recorded(instance, generation)
            case planning.Publish(generation, instances):
                published = {i.service: i.endpoint for i in instances if i.endpoint}
                observed = replace(self.observed, published=published, asleep_runs=frozenset())
                yield replace(self, observed=observed, live=self.live | {generation})
            case planning.Unpublish(services):
                left = {s: to for s, to in self.observed.published.items() if s not in services}
                unpublished = self._with(replace(self.observed, published=left))
                is_left = self.desired.keeps_instances and WEB.name not in services
                yield unpublished if is_left else unpublished._recorded_asleep(None)
            case planning.Retire(instances):
                yield self._instances(i for i in self.observed.instances if i not in instances)
            case planning.Wait(until):
                yield self._later(until)
            case _:
                yield from self._powered(action)

    def _powered(self, action: planning.Power) -> Iterator[World]:
        match action:
            case planning.Park(services):
                left = {s: to for s, to in self.observed.published.items() if s not in services}
                recorded = self._recorded_asleep(i for i in self.observed.instances if is_running(i))
                yield recorded._with(replace(recorded.observed, published=left))
                if recorded.key != self.key:
                    yield recorded  # it was killed in between
                yield replace(self._recorded_asleep(None), desired=self.desired.resumed())
            case planning.Pause(instances):
                yield from self._recorded_asleep(instances)._one_by_one(instances, paused)
            case planning.Halt(instances):
                for code in (0, 137):
                    ended = partial(stopped, exit_code=code)
                    yield from self._recorded_asleep(instances)._one_by_one(instances, ended)
            case planning.Unpause(instances):
                yield from self._one_by_one(instances, unpaused)
            case planning.EndSleep():
                yield self._recorded_asleep(None)

    def _recorded_asleep(self, instances: Iterable[Instance] | None) -> World:
        """With these runs put to sleep, too; with none at all for None."""
        runs = self.observed.asleep_runs | {i.run for i in instances} if instances is not None else ()
        return self._with(replace(self.observed, asleep_runs=frozenset(runs)))

    def _one_by_one(
        self, instances: tuple[Instance, ...], change: Callable[[Instance], Instance]
    ) -> Iterator[World]:
        """With all of them changed; then with each first part, where it was killed."""
        worlds = [self]
        for instance in instances:
            worlds.append(worlds[-1]._replaced(instance, change(instance)))
        yield worlds.pop()
        yield from worlds[1:]

    def _started(self, generation: int, service: Service) -> Iterator[World]:
        taken = {i.id for i in self.observed.instances}
        taken |= {r.partition("@")[0] for a in self.observed.attempts for r in a.healthy_runs.values()}
        id_ = next(id_ for n in range(9) if (id_ := f"{service.name}.{generation}.{n}") not in taken)
        created = Instance(
            *(id_, "e", service.name, f"d{generation}", generation, InstanceState.CREATED),
            inputs=service.inputs,
            generations=frozenset() if service.is_kept else frozenset({generation}),
        )
        before = self._instances((*self.observed.instances, created))
        yield before._running(created, generation)
        yield before  # it was killed in between
        yield before._failed(generation, replace(created, id=""))
        yield self._failed(generation, replace(created, id=""))

    def _running(self, instance: Instance, generation: int) -> World:
        run = f"t{int(instance.started_at[1:] or 0) + 1}"
        running = replace(
            instance,
            state=InstanceState.RUNNING,
            started_at=run,
            endpoint=endpoint(instance.id, run),
            exit_code=None,
        )
        service = self.observed.service(generation, instance.service)
        attempt = after_start(self.observed.attempt(generation), service)
        return self._replaced(instance, running)._attempt(attempt)

    def _checked(self, instance: Instance, generation: int) -> Iterator[World]:
        service = self.observed.service(generation, instance.service)
        if service.is_job:
            for code in (0, 1):
                yield self._replaced(instance, stopped(instance, code))
        else:
            attempt = self.observed.attempt(generation)
            yield self._attempt(after_answer(attempt, instance, service))
        yield self._failed(generation, instance)

    def _recorded(self, instance: Instance, generation: int) -> World:
        service = self.observed.service(generation, instance.service)
        ending = Ending(instance, self.observed.has_been_healthy(instance))
        is_live = generation in self.live
        return self._attempt(
            after_exit(self.observed.attempt(generation), service, ending, START, is_live=is_live)
        )

    def _failed(self, generation: int, instance: Instance | None) -> World:
        """The action failed for good."""
        attempt, fault = self.observed.attempt(generation), Fault("It is broken.", reason="broken")
        if instance is None:
            return self._attempt(after_error(attempt, fault, START))
        service, run = (
            self.observed.service(generation, instance.service),
            instance.run if instance.id else "",
        )
        is_live = generation in self.live
        return self._attempt(after_error(attempt, fault, START, service, run=run, is_live=is_live))

    def _later(self, until: datetime) -> World:
        """When it is `until`. The clock stays where it is, so that equal worlds are found to be equal."""

        def due(retry_at: datetime | None) -> datetime | None:
            return DUE if retry_at is not None and retry_at <= until else retry_at

        assert until > START, "waits for the past"
        attempts = tuple(
            replace(
                a,
                retry_at=due(a.retry_at),
                failed_services={
                    name: replace(f, retry_at=due(f.retry_at)) for name, f in a.failed_services.items()
                },
            )
            for a in self.observed.attempts
        )
        return self._with(replace(self.observed, attempts=attempts))

    def _replaced(self, old: Instance, new: Instance) -> World:
        return self._instances(new if i.id == old.id else i for i in self.observed.instances)

    def _instances(self, instances: Iterable[Instance]) -> World:
        return self._with(replace(self.observed, instances=tuple(instances)))

    def _attempt(self, attempt: Attempt) -> World:
        others = tuple(a for a in self.observed.attempts if a.generation != attempt.generation)
        return self._with(replace(self.observed, attempts=(*others, attempt)))

    def _with(self, observed: Observed) -> World:
        return replace(self, observed=observed)

    # What actions must keep to.

    def check(self, action: planning.Action) -> None:  # noqa: C901 (one case an action)
        """The promises that don't depend on what the action leads to."""
        is_power = isinstance(action, planning.Park | planning.Pause | planning.Halt)
        assert is_power == self.desired.is_asleep, "put to sleep what should run, or the other way round"
        if not self.desired.is_asleep and not isinstance(action, planning.Unpause):
            assert not any(map(is_paused, self.observed.instances)), "left something paused"
        match action:
            case planning.Prepare(generation):
                assert generation == self.desired.generation
                assert generation not in self.observed.services, "prepared twice"
            case planning.Start(generation, name):
                self._check_start(generation, self.observed.service(generation, name))
            case planning.Resume(instance, generation):
                assert instance.state is not InstanceState.RUNNING
                service = self.observed.service(generation, instance.service)
                assert not (service.is_job and self._is_done(service, generation)), "ran a job twice"
                assert self._unmet(generation, service) <= self.given_up(generation), "too early"
            case planning.Publish(generation, instances):
                self._check_publish(generation, instances)
            case planning.Retire(instances):
                assert len({i.generation for i in instances}) == 1
                if self.desired.should_run:
                    for instance in instances:
                        self._check_retire(instance)
            case planning.Pause(instances) | planning.Halt(instances):
                assert not self.observed.published, "put to sleep what is published"
                self._check_order(reversed(instances))
            case planning.Unpause(instances):
                assert all(map(is_paused, instances))
                self._check_order(instances)
            case planning.EndSleep():
                assert self.observed.asleep_runs
            case planning.Unpublish(services) if self.desired.should_run:
                serving = {i.service for i in self.observed.serving}
                assert not serving & services, "took a serving instance out of the table"

    def check_step(self, after: World) -> None:
        """What must be so whatever an action leads to. A broken push never takes down a good preview."""
        if not self.desired.should_run:
            return
        before, serves = self.whole_generation, after.whole_generation
        if before is None:
            return
        is_changed = after.given_up(before) != self.given_up(before)
        if not is_changed and self._lost_stateful(after) is None:
            assert serves is not None, "a preview went down"
            assert serves >= before, "went back to an older revision"
        assert "web" in {i.service for i in after.observed.serving}, "the application went down"

    def check_rest(self) -> None:
        """What must be so when there is nothing left to do."""
        observed = self.observed
        if self.desired.is_asleep:
            is_deep = self.desired.depth is Depth.STOPPED
            assert not observed.published
            assert not any(map(is_running, observed.instances)), "left something running"
            assert not (is_deep and any(map(is_paused, observed.instances))), "left something paused"
            return
        assert not observed.asleep_runs, "still counts as asleep"
        serving = {i.service for i in observed.serving}
        assert observed.published.keys() == serving, "a route leads nowhere"
        generations = {i.generation for i in observed.serving}
        for name in {i.service for i in observed.instances}:
            left = [i for i in observed.instances if i.service == name]
            idle = [i for i in left if not observed.is_serving(i)]
            assert len(left) <= max(1, len(generations)) or len(idle) <= 1, "left over"
        attempt = observed.attempt(self.desired.generation)
        if self.desired.should_run and not attempt.final:
            assert self.whole_generation == self.desired.generation or attempt.failed_services, "stuck"

    @property
    def whole_generation(self) -> int | None:
        """The generation that serves with all its routed services, and alone."""
        mains = {i.generation for i in self.observed.serving if self._is_main(i)}
        if len(mains) != 1:
            return None
        [generation] = mains
        given_up = self.given_up(generation)
        routed = {s.name for s in self.services(generation) if s.is_routed} - given_up
        fits = all(self._fits(i, generation) for i in self.observed.serving)
        is_whole = self.observed.published.keys() == {i.service for i in self.observed.serving} == routed
        return generation if fits and is_whole else None

    def services(self, generation: int) -> tuple[Service, ...]:
        return self.observed.services.get(generation, (WEB,))

    def ready(self, generation: int) -> set[str]:
        """The services of this generation that are healthy in it, or done."""
        return {
            s.name
            for s in self.services(generation)
            if self._is_done(s, generation)
            or any(
                self._fits(i, generation) and self.observed.is_healthy(i, generation)
                for i in self.observed.instances
                if i.service == s.name
            )
        }

    def _check_start(self, generation: int, service: Service) -> None:
        assert generation in self.observed.services, "started what isn't prepared"
        assert not self._is_done(service, generation), "ran a job twice"
        is_needed = generation == self.desired.generation or (
            service.is_stateful and generation in {i.generation for i in self.observed.serving}
        )
        assert is_needed, "started an old revision"
        assert self._unmet(generation, service) <= self.given_up(generation), "started too early"
        others = [i for i in self.observed.instances if i.service == service.name]
        assert not any(i.generation == generation for i in others), "started twice"
        assert not (service.is_stateful and others), "two instances write to the same volume"
        for used in self.services(generation):
            if used.is_kept and used != service and used.name not in self.given_up(generation):
                found = (i for i in self.observed.instances if i.service == used.name)
                fitting = [i for i in found if self._is_kept_for(i, generation)]
                assert not fitting or any(generation in i.generations for i in fitting), "not joined yet"

    def _check_order(self, instances: Iterable[Instance]) -> None:
        """Each comes after those of its generation that it depends on."""
        known: set[tuple[int, str]] = set()
        present = list(instances)
        for instance in present:
            service = self.observed.service(instance.generation, instance.service)
            needed = {(i.generation, i.service) for i in present if i.service in service.depends_on}
            of_generation = {each for each in needed if each[0] == instance.generation}
            assert of_generation <= known, "in the wrong order"
            known.add((instance.generation, instance.service))

    def _check_publish(self, generation: int, instances: tuple[Instance, ...]) -> None:
        given_up, services = self.given_up(generation), self.services(generation)
        assert {i.service for i in instances} == {s.name for s in services if s.is_routed} - given_up
        assert all(self._fits(i, generation) for i in instances)
        healthy = all(self.observed.is_healthy(i, generation) for i in instances)
        assert healthy, "published what isn't healthy"
        assert not given_up or generation in self.live, "published what never was whole"
        missing = {s.name for s in services} - self.ready(generation) - given_up
        assert not missing, "published without what it needs"
        for instance in instances:
            is_kept = self.observed.service(generation, instance.service).is_kept
            assert not is_kept or generation in instance.generations

    def _check_retire(self, instance: Instance) -> None:
        """What a generation that serves, or the desired one, uses isn't stopped. Only a stateful instance is
        whose successor has other inputs, or that is broken. What sleeps serves again first."""
        assert not (self._can_be_woken(instance) and not self.observed.serving), "removed what sleeps"
        assert not (self.observed.is_serving(instance) and self._is_main(instance)), "stopped what serves"
        if self._may_be_stopped_first(instance):
            return
        assert not self.observed.is_serving(instance), "stopped what serves"
        others = [i for i in self.observed.instances if i != instance and i.service == instance.service]
        for generation in self._in_use:
            is_used = self._has_passed_for(instance, generation)
            is_replaced = any(
                self._has_passed_for(i, generation)
                or (self.observed.is_serving(i) and self._fits(i, generation))
                for i in others
            )
            assert not is_used or is_replaced, "stopped what another generation uses"

    def _can_be_woken(self, instance: Instance) -> bool:
        """Whether it was put to sleep with all of its generation, which had been healthy and wasn't given up,
        and no newer one was."""
        asleep = [i for i in self.observed.instances if i.run in self.observed.asleep_runs]
        whole = [
            number
            for number in {i.generation for i in asleep}
            if {i.service for i in asleep if i.generation == number}
            >= {s.name for s in self.services(number) if not s.is_job}
            and WEB.name in self.observed.attempt(number).healthy_runs
            and not self.observed.attempt(number).final
        ]
        return instance in asleep and instance.generation == max(whole, default=0)

    def _may_be_stopped_first(self, instance: Instance) -> bool:
        if not self.observed.service(instance.generation, instance.service).is_stateful:
            return False
        successors = {self.desired.generation, *self._mains} & self.observed.services.keys()
        return any(
            self.observed.service(g, instance.service).is_stateful
            and not self._is_kept_for(instance, g)
            and instance.generation != g
            for g in successors
        )

    @property
    def _mains(self) -> set[int]:
        return {i.generation for i in self.observed.serving if self._is_main(i)}

    @property
    def _in_use(self) -> set[int]:
        wanted = self.desired.generation
        return self._mains | ({wanted} if not self.observed.attempt(wanted).final else set())

    def _lost_stateful(self, after: World) -> Instance | None:
        """A stateful instance that serves and was stopped for its successor."""
        ids = {i.id for i in after.observed.instances}
        lost = (i for i in self.observed.serving if i.id not in ids)
        return next((i for i in lost if self._may_be_stopped_first(i)), None)

    def _fits(self, instance: Instance, generation: int) -> bool:
        """Whether the generation may use this instance."""
        if instance.generation == generation:
            return True
        is_prepared = generation in self.observed.services
        services = self.services(generation) if is_prepared else self.declared
        service = next((s for s in services if s.name == instance.service), None)
        if service is None:
            return False
        is_same = service.is_kept and service.inputs == instance.inputs
        return is_same or (service.is_stateful and generation != self.desired.generation)

    def _is_kept_for(self, instance: Instance, generation: int) -> bool:
        """Whether the generation uses this instance of another one rather than one of its own."""
        service = self.observed.service(generation, instance.service)
        is_same = service.is_kept and service.inputs == instance.inputs
        return instance.generation == generation or (is_same and not self._is_broken(instance))

    def _is_broken(self, instance: Instance) -> bool:
        failures = (a.failed_services.get(instance.service) for a in self.observed.attempts)
        if any(f and f.final and f.run == instance.run for f in failures):
            return True
        is_running = instance.state is InstanceState.RUNNING
        return not is_running and not self.observed.has_been_healthy(instance)

    def _has_passed_for(self, instance: Instance, generation: int) -> bool:
        """Whether the generation may use this instance, which passed its health check in any generation."""
        attempts = self.observed.attempts
        passed = any(self.observed.is_healthy(instance, a.generation) for a in attempts)
        is_sound = instance.generation == generation or not self._is_broken(instance)
        is_given_up = instance.service in self.given_up(generation)
        return passed and is_sound and not is_given_up and self._fits(instance, generation)

    def _is_main(self, instance: Instance) -> bool:
        return self.observed.service(instance.generation, instance.service).is_main

    def _is_done(self, service: Service, generation: int) -> bool:
        return service.is_job and service.name in self.observed.attempt(generation).healthy_runs

    def given_up(self, generation: int) -> set[str]:
        failed = self.observed.attempt(generation).failed_services
        return {name for name, failure in failed.items() if failure.final}

    def _unmet(self, generation: int, service: Service) -> set[str]:
        """The dependencies whose condition isn't met."""
        ready = self.ready(generation)
        running = {
            i.service
            for i in self.observed.instances
            if i.state is InstanceState.RUNNING and self._fits(i, generation)
        }
        return {
            name
            for name, condition in service.depends_on.items()
            if name not in (running if condition is Condition.STARTED else ready)
        }


def is_running(instance: Instance) -> bool:
    return instance.state is InstanceState.RUNNING


def is_paused(instance: Instance) -> bool:
    return instance.state is InstanceState.PAUSED


def paused(instance: Instance) -> Instance:
    return replace(instance, state=InstanceState.PAUSED, endpoint=None)


def unpaused(instance: Instance) -> Instance:
    at = endpoint(instance.id, instance.started_at)
    return replace(instance, state=InstanceState.RUNNING, endpoint=at)


def stopped(instance: Instance, exit_code: int) -> Instance:
    return replace(instance, state=InstanceState.STOPPED, exit_code=exit_code, endpoint=None)
