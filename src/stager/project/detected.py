"""A detected application, and the Dockerfile that is generated for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

GENERATOR_EDITION = 1
"""Change it with the generated Dockerfiles: commits that were built with earlier ones are built again."""

DOCKERIGNORE = """\
.git
.env
.env.*
!.env.example
**/node_modules
**/__pycache__
**/.venv
**/venv
"""
"""For the generated Dockerfile: what isn't part of the application, or is installed in the image."""


@dataclass(frozen=True, slots=True)
class Detected:
    """An application that was detected in a repository without a Dockerfile.

    Args:
        framework: its name, such as `Django`.
        package_manager: its program, such as `npm`; empty for none.
        port: the port that it listens on, unless `PORT` is set.
        command: the command that starts it, as the image's `CMD`.
        dockerfile: the text of the Dockerfile, generated for the context `folder`.
        why: the files that say so, one sentence each.
        bases: build arguments that replace base images, with their defaults.
        folder: the build context, relative to the repository's root.
        health_path: the path of the framework's own health check; empty for none.
        notes: what to know or to change, one sentence each.
        dockerignore: the text of the `.dockerignore` for it.
    """

    framework: str
    package_manager: str
    port: int
    command: tuple[str, ...]
    dockerfile: str
    why: tuple[str, ...]
    bases: Mapping[str, str] = field(default_factory=dict)
    folder: str = "."
    health_path: str = ""
    notes: tuple[str, ...] = ()
    dockerignore: str = DOCKERIGNORE
