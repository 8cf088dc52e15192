"""The options of `stager up`, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """The options that choose the build; empty for those that aren't given."""

    dockerfile: str = ""
    context: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """The options with variables.

    Args:
        assignments: `NAME=value`, or `NAME` for this process's own value.
        files: the paths of files with variables; those of later ones replace those of earlier ones.
        build_arguments: like `assignments`.
    """

    assignments: Sequence[str] = ()
    files: Sequence[Path] = ()
    build_arguments: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """The options that decide what is built and run.

    Args:
        port: on which the application listens; None if it isn't given.
    """

    build: BuildOptions = field(default_factory=BuildOptions)
    port: int | None = None
    given: Given = field(default_factory=Given)


@dataclass(frozen=True, slots=True)
class Place:
    """What is previewed, and where.

    Args:
        folder: absolute, without symbolic links.
        name: of the application and its preview.
        port: of the URL; None for the first free one of `session.PORTS`, 0 for any free one.
        opens: whether the browser is opened.
    """

    folder: Path
    name: str
    port: int | None = None
    opens: bool = False
