"""How an image is built from a commit, and the settings of a repository file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build an application's image from a checkout of its repository.

    Args:
        context: the build context, relative to the root of the repository.
        dockerfile: the path of the Dockerfile, relative to the context.
        target: the stage to build; the last one if empty.
        arguments: `ARG` values.
        secrets: BuildKit secrets by their ids. Only `RUN --mount=type=secret` gets them; they are never in a
            layer, a process argument or a file of Stager.
    """

    context: str = "."
    dockerfile: str = "Dockerfile"
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Hooks:
    """Commands that run inside an instance, each split into words.

    Args:
        after_launch: run once it is healthy, before it is published, such as to fill a database.
        before_kill: run before its environment is removed.
    """

    after_launch: tuple[tuple[str, ...], ...] = ()
    before_kill: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The settings of a repository file and of an image. For those that are None or empty, the configuration
    applies.

    Args:
        port: the port on which the application listens inside the instance.
        command: the command to run.
        health_path: the path of the health check.
        variables: environment variables; those of the configuration take precedence.
        has_healthcheck: whether the image has a `HEALTHCHECK`.
        note: a remark on the health check that is shown with the environment.
    """

    port: int | None = None
    command: tuple[str, ...] = ()
    health_path: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    hooks: Hooks = field(default_factory=Hooks)
    has_healthcheck: bool = False
    note: str = ""


NOTHING_SAID = Manifest()
