"""Applications: the entries under `images:`, each with everything that its previews are made with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from stager.domain import catalogue
from stager.domain.errors import Fault, Refused
from stager.domain.external import ServerHooks
from stager.domain.identity.access_policy import Privacy
from stager.domain.names import did_you_mean
from stager.domain.profile import Egress, Limits, Profile, ProfileName, profile_name, profile_of
from stager.domain.pull_requests.rules import Rules
from stager.domain.recipe import Hooks, Manifest, Recipe
from stager.domain.service import (
    MAIN_SERVICE,
    UNBOUNDED_VOLUMES,
    Mount,
    ServiceCheck,
    ServiceSpec,
    Stack,
    has_volumes,
)
from stager.domain.snapshot import DataRules
from stager.domain.source import Repository, Trust
from stager.domain.stack import StackDeclaration

ForkMode = Literal["off", "approve", "open"]
SHA_PLACEHOLDER = "{sha}"
"""Stands for the commit in an image's name."""

LOCAL_OWNER = "local"
"""The owner of the repositories under `local_forge`."""

SHARED_BUILDER = (
    "`forks.unsafe_shared_builder` is on, so code from forks is built together with trusted code and can"
    " change the results of other builds on this machine."
)
NO_SERVER_HOOK = (
    "The server hook `before_launch` doesn't run for code from forks, so the variables that it sets are"
    " missing."
)


@dataclass(frozen=True, slots=True)
class Container:
    """The settings of an application or a service that its containers are created from, besides image,
    environment variables and profile. A change of any of them requires another container. Those that an
    application doesn't have are a service's; see `ServiceSpec`.

    Args:
        command: split into words; None for the image's own, empty for no command.
        port: the port that the service listens on for requests or, without them, for its health check; None
            if it is unknown or there is none.
        stop_grace_period: seconds between the stop signal and SIGKILL.
        parameters: additional parameters of the engine's create call.
        has_healthcheck: whether Stager runs the image's own health check, so that the engine doesn't.
    """

    command: tuple[str, ...] | None = None
    port: int | None = None
    stop_grace_period: float = 10.0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    has_healthcheck: bool = False
    entrypoint: tuple[str, ...] | None = None
    user: str = ""
    working_dir: str = ""
    mounts: tuple[Mount, ...] = ()
    tmpfs: tuple[str, ...] = ()
    stop_signal: str = ""
    shared_memory: int | None = None


def _container_settings(of: Application | ServiceSpec) -> dict[str, Any]:
    """The settings that it shares with `Container`, by name."""
    own = {each.name for each in fields(of)}
    return {each.name: getattr(of, each.name) for each in fields(Container) if each.name in own}


@dataclass(frozen=True, slots=True)
class Application:
    """One entry under `images:`.

    Args:
        image: the engine's name of the image, resolved at each launch. `{sha}` in it is the commit.
        port: the port that the application listens on inside the instance; None where the repository file or
            the image declares it.
        limits: resource limits of an instance.
        egress: what an instance of trusted code may connect to.
        command: split into words; empty for the image's own.
        owner: owner of its repository; empty for any owner with a valid signature.
        repository: name of its repository; empty where it equals the application's name.
        variables: environment variables from the configuration.
        secrets: environment variables that code from forks doesn't get.
        health_path: path that must answer 2xx or 3xx; None: any answer of `/` below 500 is healthy.
        start_timeout: seconds until an instance that doesn't answer is given up.
        probe_timeout: seconds for one response to a health check.
        drain_timeout: seconds that requests in flight have to finish before an old instance is removed.
        stop_grace_period: seconds between SIGTERM and SIGKILL.
        sleep_after: seconds without a request after which a preview is paused; None for never.
        stop_after: seconds asleep after which a paused preview is stopped; None for never.
        parameters: additional parameters of the engine's create call.
        build: how to build the image from the commit; None for an image that is built elsewhere.
        build_timeout: seconds until a build is given up.
        image_timeout: seconds to wait for an image with `{sha}` in its name.
        hooks: commands that run inside an instance.
        repository_file: path of the repository file; empty for none.
        repository_file_keys: the keys that the repository file may have.
        forks: whether pull requests from forks get a preview.
        shares_builder: whether code from forks is built by the builder of trusted code.
        rules: which pull requests get a preview.
        privacy: how visitors identify themselves; None for public previews.
        privacy_of_data: the same for previews with volumes that were cloned from a snapshot.
        public_logs: whether the page in place of a public preview shows the last lines of a log.
        index: whether search engines may list previews.
        has_healthcheck: whether the image declares a `HEALTHCHECK`.
        declared: what the configuration declares about services.
        service_secrets: environment variables of services that code from forks doesn't get, by the name of
            the service.
        fork_images: images that services of code from forks may run; see `catalogue.is_allowed`.
        data: how snapshots are made, and who may.
        server_hooks: commands that run on the server.
        expire_after: seconds without visits and pushes after which a preview expires; None for never.
    """

    name: str
    image: str
    port: int | None
    limits: Limits
    egress: Egress = field(default_factory=Egress)
    command: tuple[str, ...] = ()
    owner: str = ""
    repository: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    health_path: str | None = None
    start_timeout: float = 300.0
    probe_timeout: float = 10.0
    drain_timeout: float = 30.0
    stop_grace_period: float = 10.0
    sleep_after: float | None = None
    stop_after: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    build: Recipe | None = None
    build_timeout: float = 1_800.0
    image_timeout: float = 1_800.0
    hooks: Hooks = field(default_factory=Hooks)
    repository_file: str = ""
    repository_file_keys: frozenset[str] = frozenset()
    forks: ForkMode = "approve"
    shares_builder: bool = False
    rules: Rules = field(default_factory=Rules)
    privacy: Privacy | None = None
    privacy_of_data: Privacy | None = field(default_factory=lambda: Privacy(frozenset({"sign-in"})))
    data: DataRules = field(default_factory=DataRules)
    public_logs: bool = True
    index: bool = False
    has_healthcheck: bool = False
    declared: StackDeclaration = field(default_factory=StackDeclaration)
    service_secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    fork_images: tuple[str, ...] = (catalogue.OFFICIAL,)
    server_hooks: ServerHooks = field(default_factory=ServerHooks, repr=False)
    expire_after: float | None = None

    def container(self, service: ServiceSpec, *, is_main: bool, has_healthcheck: bool) -> Container:
        """The settings that the containers of one of its services are created from: the service's of the same
        names and, for the main one, those that only an application has."""
        grace = service.stop_grace_period
        converted = {
            "port": self.port if is_main else service.listening_port,
            "stop_grace_period": self.stop_grace_period if grace is None else grace,
            "has_healthcheck": has_healthcheck,
        }
        of_application = _container_settings(self) if is_main else {}
        return Container(**{**of_application, **_container_settings(service), **converted})

    @property
    def needs_commit(self) -> bool:
        """Whether its image depends on the commit."""
        return self.build is not None or SHA_PLACEHOLDER in self.image

    def with_manifest(self, manifest: Manifest) -> Application:
        """Complete this application with what the repository file and the image declare. Environment
        variables of the configuration take precedence over theirs; everything else is taken from them."""
        return replace(
            self,
            port=manifest.port or self.port,
            command=manifest.command or self.command,
            health_path=manifest.health_path or self.health_path,
            variables={**manifest.variables, **self.variables},
            hooks=Hooks(
                manifest.hooks.after_launch or self.hooks.after_launch,
                manifest.hooks.before_kill or self.hooks.before_kill,
            ),
            has_healthcheck=manifest.has_healthcheck,
        )

    def with_declared(self, declared: StackDeclaration) -> Application:
        """Complete this application with what its repository file declares about services."""
        return replace(self, declared=declared.over(self.declared))

    @property
    def stack(self) -> Stack:
        """The services, of which the main one is the application itself; without those of a Compose file.

        Raises:
            Fault: `services-invalid`: they can't start, because of their `depends_on`.
        """
        return self.declared.stack(
            ServiceSpec(
                self.declared.main or MAIN_SERVICE,
                build=self.build,
                command=self.command or None,
                port=self.port,
                check=ServiceCheck(self.health_path, timeout=self.probe_timeout)
                if self.health_path
                else None,
                stop_grace_period=self.stop_grace_period,
            )
        )

    def check_images(self, services: Iterable[ServiceSpec], trust: Trust) -> None:
        """Check that code of this trust may run the images of these services.

        Raises:
            Fault: `image-not-allowed`: code from a fork may not run one of them.
        """
        if trust is Trust.TRUSTED:
            return
        for service in services:
            if service.image and not catalogue.is_allowed(service.image, self.fork_images):
                raise Fault(
                    f'The service "{service.name}" has the image {service.image}, which code from forks may'
                    " not run.",
                    hint="Add it to `forks.images` in the configuration, or use an image of the catalogue.",
                    reason="image-not-allowed",
                )

    def profile(self, name: ProfileName) -> Profile:
        """The profile of this name with the application's limits and egress."""
        return profile_of(name, self.limits, self.egress)

    def profile_for(self, trust: Trust) -> Profile:
        """The profile that instances of code of this trust get."""
        return self.profile(profile_name(trust))

    def withheld(self, trust: Trust) -> tuple[str, ...]:
        """The names of the secrets that code of this trust doesn't get."""
        if trust is Trust.TRUSTED:
            return ()
        return tuple(sorted({*self.secrets, *(self.build.secrets if self.build else ())}))

    def warnings(self, trust: Trust, services: Iterable[ServiceSpec] = ()) -> tuple[str, ...]:
        """Warnings to show with previews of code of this trust.

        Args:
            services: of the preview.
        """
        if trust is Trust.TRUSTED:
            return ()
        found = {
            SHARED_BUILDER: self.build is not None and self.shares_builder,
            NO_SERVER_HOOK: bool(self.server_hooks.before_launch) and not self.server_hooks.run_for(trust),
            UNBOUNDED_VOLUMES: has_volumes(services),
        }
        return tuple(warning for warning, applies in found.items() if applies)

    def is_of(self, repository: Repository) -> bool:
        """Whether it belongs to this repository, by owner and name. GitHub's names are case-insensitive."""
        same_owner = not self.owner or self.owner.lower() == repository.owner.lower()
        return same_owner and self.repository_name.lower() == repository.name.lower()

    @property
    def repository_name(self) -> str:
        """The name of its repository."""
        return self.repository or self.name


class Applications:
    """All configured applications, by name."""

    def __init__(self, applications: Mapping[str, Application]) -> None:
        self._by_name = dict(applications)

    def __iter__(self) -> Iterator[Application]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Application:
        """Return the application of this name.

        Raises:
            Refused: `image-unknown`: there is none.
        """
        found = self._by_name.get(name)
        if found is None:
            raise Refused(
                f'Invalid Image Specified: there is no "{name}" under `images:`.'
                if name
                else "Invalid Image Specified: the parameter image_name is missing.",
                hint=did_you_mean(name, self._by_name),
                reason="image-unknown",
            )
        return found

    def find(self, name: str) -> Application | None:
        """Return the application of this name, or None."""
        return self._by_name.get(name)

    def withheld(self, name: str, trust: Trust) -> tuple[str, ...]:
        """See `Application.withheld`; empty for an unknown application."""
        found = self.find(name)
        return found.withheld(trust) if found else ()

    def warnings(self, name: str, trust: Trust, services: Iterable[ServiceSpec] = ()) -> tuple[str, ...]:
        """See `Application.warnings`; empty for an unknown application."""
        found = self.find(name)
        return found.warnings(trust, services) if found else ()

    def owner(self, name: str) -> str:
        """Return the owner of the application's repository, as `OWNER/NAME` where the repository has another
        name than the application; empty if no owner is configured or the application is unknown."""
        found = self.find(name)
        if found is None:
            return ""
        return f"{found.owner}/{found.repository}" if found.repository else found.owner

    def of_repository(self, repository: Repository) -> Application | None:
        """Return the application of this repository by its name. Renamed repositories are resolved by
        `control.pull_requests.repositories`."""
        return next((a for a in self._by_name.values() if a.is_of(repository)), None)
