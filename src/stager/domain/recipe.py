"""How an image is made of a commit, and what a repository's own file may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build an application's image from a checkout of its repository.

    Args:
        context: the folder that is built, from the repository's root; `.` for all of it.
        dockerfile: the Dockerfile's path, from the context.
        target: the stage to build; the last one if empty.
        arguments: `ARG` values.
        secrets: BuildKit secrets by their ids. They reach the build's `RUN --mount=type=secret` alone, never
            a layer, an argument of a process or a file of ours.
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
        after_launch: once it answers, before anybody is sent there, such as filling a database.
        before_kill: before its environment ends.
    """

    after_launch: tuple[tuple[str, ...], ...] = ()
    before_kill: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a repository's own file, or its image, says of how to run it. Whatever is None or empty isn't
    said, and the administrator's configuration counts.

    Args:
        port: where the application listens inside the instance.
        command: what to run; empty for what the configuration or the image says.
        health_path: what to ask an instance for to know that it works.
        variables: environment variables, below those of the configuration.
        has_healthcheck: whether the image tells by itself whether an instance of it works (`HEALTHCHECK`).
        note: what people should know of that, once an instance is ready.
    """

    port: int | None = None
    command: tuple[str, ...] = ()
    health_path: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    hooks: Hooks = field(default_factory=Hooks)
    has_healthcheck: bool = False
    note: str = ""


NOTHING_SAID = Manifest()
