"""What a configuration and a repository file declare about services, and the stack that follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from stager.domain.errors import Fault
from stager.domain.names import did_you_mean
from stager.domain.recipe import Hooks
from stager.domain.service import MAIN_SERVICE, Condition, ServiceSpec, Stack, VolumePolicy

USUAL_NAMES = ""
"""`StackDeclaration.compose`: the Compose file has one of the names that Docker Compose looks for."""


@dataclass(frozen=True, slots=True)
class StackDeclaration:
    """What a file declares about an application's services.

    Args:
        services: in the order of the file. One with the name of the main service completes that.
        compose: path of the Compose file; empty for the usual names, None for none.
        main: name of the main service; empty for `MAIN_SERVICE`, or with a Compose file for the one that is
            guessed.
        volumes: policies by the name of the volume.
        profiles: the active profiles.
        ordered: names of the services that declare `depends_on`. The others get `default_dependencies`.
    """

    services: tuple[ServiceSpec, ...] = ()
    compose: str | None = None
    main: str = ""
    volumes: Mapping[str, VolumePolicy] = field(default_factory=dict)
    profiles: frozenset[str] = frozenset()
    ordered: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """The names of the services that it declares, and that of the main one."""
        return frozenset({service.name for service in self.services} | {self.main or MAIN_SERVICE})

    def over(self, configured: StackDeclaration) -> StackDeclaration:
        """Return this declaration of a repository file, completed by the configuration's. Services are
        replaced by name. A Compose file replaces all services of the configuration, and services replace its
        Compose file."""
        compose = configured.compose if self.compose is None and not self.services else self.compose
        own = {service.name: service for service in self.services}
        services = {service.name: service for service in configured.services} | own
        return StackDeclaration(
            services=() if compose is not None else tuple(services.values()),
            compose=compose,
            main=self.main or configured.main,
            volumes={**configured.volumes, **self.volumes},
            profiles=self.profiles or configured.profiles,
            ordered=self.ordered | (configured.ordered - own.keys()),
        )

    def stack(self, main: ServiceSpec) -> Stack:
        """Return the services that run with the active profiles, the main one first.

        Args:
            main: what the application itself declares for its main service.

        Raises:
            Fault: `services-invalid`: see `check_dependencies`.
        """
        self._check_profiles()
        active = {service.name: service for service in self.services if self._is_active(service)}
        entry = active.pop(main.name, None)
        services = (_completed(main, entry) if entry else main, *active.values())
        services = default_dependencies(services, except_for=self.ordered)
        check_dependencies(services)
        return Stack(services, main.name, self.volumes)

    def _check_profiles(self) -> None:
        resting = {
            service.name: service.profiles for service in self.services if not self._is_active(service)
        }
        for service in self.services:
            for on in resting.keys() & service.depends_on if self._is_active(service) else ():
                raise Fault(
                    f"The service {service.name} can't start: it depends on {on}, which runs with the profile"
                    f' "{resting[on][0]}" only.',
                    hint=f"Add the profile to `profiles`, or remove {on} from `depends_on`.",
                    reason="services-invalid",
                )

    def _is_active(self, service: ServiceSpec) -> bool:
        return not service.profiles or not self.profiles.isdisjoint(service.profiles)


def _completed(main: ServiceSpec, entry: ServiceSpec) -> ServiceSpec:
    """The main service with the settings that only an entry of `services` has."""
    return replace(
        main,
        entrypoint=entry.entrypoint,
        depends_on=entry.depends_on,
        mounts=entry.mounts,
        tmpfs=entry.tmpfs,
        memory=entry.memory,
        cpus=entry.cpus,
        user=entry.user,
        working_dir=entry.working_dir,
    )


def default_dependencies(
    services: Iterable[ServiceSpec], *, except_for: frozenset[str]
) -> tuple[ServiceSpec, ...]:
    """Complete `depends_on` of the services that run the repository's code: they wait for images from
    elsewhere, such as databases, to be healthy, and for jobs to be completed.

    Args:
        except_for: names of services that keep their `depends_on`.
    """
    services = tuple(services)
    by_name = {service.name: service for service in services}
    return tuple(
        replace(service, depends_on=dict(_default_dependencies(service, by_name)))
        if service.is_built and service.name not in except_for
        else service
        for service in services
    )


def _default_dependencies(
    service: ServiceSpec, by_name: Mapping[str, ServiceSpec]
) -> Iterator[tuple[str, Condition]]:
    for other in by_name.values():
        is_job = other.is_job and not service.is_job
        is_image = not (other.is_job or other.is_built)
        if (is_job or is_image) and not _waits_for_code(other, service.name, by_name):
            yield other.name, Condition.COMPLETED if is_job else Condition.HEALTHY


def _waits_for_code(service: ServiceSpec, name: str, by_name: Mapping[str, ServiceSpec]) -> bool:
    """Whether a service waits, directly or not, for the one of this name, or for one that runs the
    repository's code and isn't a job."""
    seen, queue = {service.name}, list(service.depends_on)
    while queue:
        on = queue.pop()
        if on in seen or on not in by_name:
            continue
        if on == name or (by_name[on].is_built and not by_name[on].is_job):
            return True
        seen.add(on)
        queue += by_name[on].depends_on
    return False


def check_hooks(hooks: Hooks, services: Iterable[ServiceSpec]) -> None:
    """Check that each hook names a service in which a command can run.

    Raises:
        Fault: `services-invalid`: one doesn't run, or is a job.
    """
    jobs = {service.name: service.is_job for service in services}
    for name in sorted(hooks.services):
        if name not in jobs:
            raise Fault(
                f'A hook names the service "{name}", which doesn\'t run.',
                hint=did_you_mean(name, jobs) or "Correct `service` under `hooks`, or declare the service.",
                reason="services-invalid",
            )
        if jobs[name]:
            raise Fault(
                f'A hook names the service "{name}", which is a job: no command can run in it.',
                hint="Remove the hook, or write the command as a job of its own.",
                reason="services-invalid",
            )


def check_dependencies(services: Iterable[ServiceSpec]) -> None:
    """Check that every service can start once what it depends on has started.

    Raises:
        Fault: `services-invalid`: an unknown service, a circle, or a service that never completes.
    """
    services = tuple(services)
    for problem in dependency_problems(services, {service.name for service in services}):
        raise Fault(
            f"The service {problem.service} can't start: `depends_on` {problem.message}.",
            hint="Correct `depends_on` of the services.",
            reason="services-invalid",
        )


@dataclass(frozen=True, slots=True)
class DependencyProblem:
    """An impossible dependency.

    Args:
        on: the service that is depended on.
        message: begins with a verb.
    """

    service: str
    on: str
    message: str


def dependency_problems(services: tuple[ServiceSpec, ...], names: set[str]) -> Iterator[DependencyProblem]:
    """Yield all impossible dependencies.

    Args:
        names: of all services that may be depended on, among them some that aren't in `services`.
    """
    by_name = {service.name: service for service in services}
    for service in services:
        for on, condition in service.depends_on.items():
            message = _problem(service, on, condition, by_name, names)
            if message:
                yield DependencyProblem(service.name, on, message)


def _problem(
    service: ServiceSpec, on: str, condition: Condition, by_name: Mapping[str, ServiceSpec], names: set[str]
) -> str:
    if on == service.name:
        return "names the service itself"
    if on not in names:
        hint = did_you_mean(on, names)
        return f'names "{on}", which isn\'t a service' + (f"; {hint}" if hint else "")
    other = by_name.get(on)
    if other is not None and condition is Condition.COMPLETED and not other.is_job:
        return f'waits until "{on}" is completed, which needs `job: true` there'
    if other is not None and condition is Condition.HEALTHY and other.is_job:
        return f'waits until "{on}" is healthy, which is a job; write `{on}: completed`'
    way = _way(on, service.name, by_name)
    return f"is a circle: {' -> '.join((service.name, *way))}" if way else ""


def _way(start: str, end: str, by_name: Mapping[str, ServiceSpec]) -> tuple[str, ...]:
    """The dependencies that lead from one service to another; empty if none do."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        if way[-1] == end:
            return way
        if way[-1] not in seen and way[-1] in by_name:
            seen.add(way[-1])
            ways += [(*way, name) for name in by_name[way[-1]].depends_on]
    return ()
