"""A detected application, and the Dockerfile that is generated for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from stager.project.dockerfile import declared

GENERATOR_EDITION = 1
"""Change it with the generated Dockerfiles: commits that were built with earlier ones are built again."""

IN_PAGES = ("NEXT_PUBLIC_", "NUXT_PUBLIC_", "VITE_", "REACT_APP_", "GATSBY_", "PUBLIC_", "VUE_APP_")
"""Prefixes of variables that frameworks write into pages when they build them."""

_FROM_LINE = re.compile(r"^FROM .*$", re.MULTILINE)

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
        dockerfile: the text of the Dockerfile, generated for the build context.
        why: the files that say so, one sentence each.
        bases: build arguments that replace base images, with their defaults.
        folder: the application's folder, and the build context unless there is a `context`; relative to the
            folder in which it was detected.
        context: the build context, relative to the repository's root, if it is another folder: that of the
            workspace that the application belongs to. Empty if it isn't.
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
    context: str = ""

    def with_arguments(self, names: Iterable[str]) -> Self:
        """Return it with a Dockerfile that declares these build arguments in each stage."""
        missing = [name for name in names if name not in declared(self.dockerfile)]
        lines = "".join(f"\nARG {name}" for name in missing)
        return replace(self, dockerfile=_FROM_LINE.sub(lambda found: found[0] + lines, self.dockerfile))
