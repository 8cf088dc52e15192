"""How an image is built from a commit, and what the repository file and the image declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stager.domain.pictures import PictureSpec

DOCKERFILE = "Dockerfile"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build an application's image from a checkout of its repository.

    Args:
        context: the build context, a folder relative to the repository's root.
        dockerfile: the Dockerfile's path, relative to the context.
        target: the stage to build; empty for the last one.
        arguments: values of `ARG` lines.
        secrets: BuildKit secrets by their ids. They are only available to `RUN --mount=type=secret`, and are
            never in a layer, a process's arguments or a file of Stager's.
        auto: whether another Dockerfile is used, or one is generated, if the context has no `Dockerfile`.
        variables: build arguments of a generated Dockerfile only: the application's variables that its
            framework writes into pages.
    """

    context: str = "."
    dockerfile: str = DOCKERFILE
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    auto: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hook:
    """A command that runs inside an instance of a service.

    Args:
        command: split into words.
        service: the name of the service; empty for the main one.
    """

    command: tuple[str, ...]
    service: str = ""


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of an application.

    Args:
        after_launch: run once their service is healthy, and before the preview gets requests.
        before_kill: run before its environment is removed.
    """

    after_launch: tuple[Hook, ...] = ()
    before_kill: tuple[Hook, ...] = ()

    @property
    def services(self) -> frozenset[str]:
        """The names of the services that they name."""
        return frozenset({hook.service for hook in (*self.after_launch, *self.before_kill)} - {""})


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the repository file and the image declare. For None and empty values, the configuration applies.

    Args:
        port: the port that the application listens on inside the instance.
        command: the command to run.
        health_path: the path of the health check.
        variables: environment variables; those of the configuration take precedence.
        has_healthcheck: whether the image declares a `HEALTHCHECK`.
        note: a note to show to users once an instance is ready.
        findings: what the Compose file leaves open and what of it has no effect, as `stager explain` prints
            it.
        pictures: what is photographed.
    """

    port: int | None = None
    command: tuple[str, ...] = ()
    health_path: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    hooks: Hooks = field(default_factory=Hooks)
    has_healthcheck: bool = False
    note: str = ""
    findings: tuple[str, ...] = ()
    pictures: PictureSpec = field(default_factory=PictureSpec)


EMPTY_MANIFEST = Manifest()
