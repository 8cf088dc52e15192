"""What can be launched: the entries under `images:`, as control needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from stager.domain.errors import Refused
from stager.domain.identity.access_policy import Privacy
from stager.domain.names import did_you_mean
from stager.domain.pull_requests.rules import Rules
from stager.domain.recipe import Hooks, Manifest, Recipe
from stager.domain.source import Repository, Trust
from stager.ports.engine import Limits

ForkMode = Literal["off", "approve", "open"]
SHA_PLACE = "{sha}"
"""In an image's name: the commit."""

SHARED_BUILDER = (
    "Code from a fork is built beside trusted code, because `forks.unsafe_shared_builder` is on: it can "
    "change what other builds on this machine make."
)


@dataclass(frozen=True, slots=True)
class Application:
    """One entry under `images:`.

    Args:
        image: the engine's name of the image; resolved afresh at each launch. `{sha}` in it is the commit.
        port: where it listens inside; None where the repository's own file or the image says that.
        command: split into words; empty for the image's own.
        owner: whose repository belongs to it; empty for anybody's with a valid signature.
        repository: what that is called; empty where it is called like the application.
        variables: environment variables from the configuration.
        secrets: those that code from forks doesn't get.
        health_path: asked until it answers 2xx or 3xx; None: any answer of `/` below 500 will do.
        start_timeout: seconds until an application that doesn't answer is given up.
        answer_timeout: seconds that one response may take until then.
        drain_timeout: seconds that open requests have to end before an old instance goes.
        stop_grace: seconds between the polite stop of an instance and the other one.
        parameters: for the engine's create call.
        build: how the image is made of the commit; None for an image that somebody else makes.
        build_timeout: seconds until a build is given up.
        image_timeout: seconds that an image with `{sha}` in its name is waited for.
        hooks: commands that run inside an instance.
        repository_file: the repository's own file; empty for none.
        repository_may: the keys that it may have.
        forks: whether code from forks may run.
        shares_builder: whether code from forks is built where trusted code is.
        rules: which changes get a preview.
        privacy: what is asked of those who want to see previews; None where anybody may.
        index: whether search engines may list previews.
        has_healthcheck: whether the image tells by itself whether an instance works.
    """

    name: str
    image: str
    port: int | None
    limits: Limits
    command: tuple[str, ...] = ()
    owner: str = ""
    repository: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    health_path: str | None = None
    start_timeout: float = 300.0
    answer_timeout: float = 10.0
    drain_timeout: float = 30.0
    stop_grace: float = 10.0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    build: Recipe | None = None
    build_timeout: float = 1_800.0
    image_timeout: float = 1_800.0
    hooks: Hooks = field(default_factory=Hooks)
    repository_file: str = ""
    repository_may: frozenset[str] = frozenset()
    forks: ForkMode = "approve"
    shares_builder: bool = False
    rules: Rules = field(default_factory=Rules)
    privacy: Privacy | None = None
    index: bool = False
    has_healthcheck: bool = False

    @property
    def needs_commit(self) -> bool:
        """Whether its image depends on the commit, so that this must be known."""
        return self.build is not None or SHA_PLACE in self.image

    def with_manifest(self, said: Manifest) -> Application:
        """This application as its repository's own file and its image complete it. What the configuration
        says counts, but for what it leaves to the repository: command, readiness and hooks."""
        return replace(
            self,
            port=said.port or self.port,
            command=said.command or self.command,
            health_path=said.health_path or self.health_path,
            variables={**said.variables, **self.variables},
            hooks=Hooks(
                said.hooks.after_launch or self.hooks.after_launch,
                said.hooks.before_kill or self.hooks.before_kill,
            ),
            has_healthcheck=said.has_healthcheck,
        )

    def withheld(self, trust: Trust) -> tuple[str, ...]:
        """The names of the secrets that code of this trust doesn't get."""
        if trust is Trust.TRUSTED:
            return ()
        return tuple(sorted({*self.secrets, *(self.build.secrets if self.build else ())}))

    def warnings(self, trust: Trust) -> tuple[str, ...]:
        """What people should know of previews of code of this trust."""
        is_shared = trust is Trust.FORK and self.build is not None and self.shares_builder
        return (SHARED_BUILDER,) if is_shared else ()

    def is_of(self, repository: Repository) -> bool:
        """Whether this repository's changes are its previews. GitHub's names don't distinguish case."""
        same_owner = not self.owner or self.owner.lower() == repository.owner.lower()
        return same_owner and self.repository_name.lower() == repository.name.lower()

    @property
    def repository_name(self) -> str:
        """What its repository is called."""
        return self.repository or self.name


class Applications:
    """All of them, by name."""

    def __init__(self, applications: Mapping[str, Application]) -> None:
        self._by_name = dict(applications)

    def __iter__(self) -> Any:
        return iter(self._by_name.values())

    def get(self, name: str) -> Application:
        """The application of this name. Raises `Refused` when there is none."""
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
        """The application of this name; None when there is none."""
        return self._by_name.get(name)

    def withheld(self, name: str, trust: Trust) -> tuple[str, ...]:
        """See `Application.withheld`; nothing of one that isn't there any more."""
        found = self.find(name)
        return found.withheld(trust) if found else ()

    def warnings(self, name: str, trust: Trust) -> tuple[str, ...]:
        """See `Application.warnings`; nothing of one that isn't there any more."""
        found = self.find(name)
        return found.warnings(trust) if found else ()

    def owner(self, name: str) -> str:
        """Whose repository belongs to this application, as `OWNER/NAME` where it is called otherwise; empty
        where that isn't said, or there is none."""
        found = self.find(name)
        if found is None:
            return ""
        return f"{found.owner}/{found.repository}" if found.repository else found.owner

    def of_repository(self, repository: Repository) -> Application | None:
        """The application of this repository by its name; `belonging` knows those that were renamed."""
        return next((a for a in self._by_name.values() if a.is_of(repository)), None)
