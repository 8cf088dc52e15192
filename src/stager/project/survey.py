"""Reads all that a repository's files say about its applications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stager.project import compose
from stager.project.detected import Detected
from stager.project.dockerfiles import Dockerfile, find_dockerfiles
from stager.project.frameworks.detect import detect_all
from stager.project.procfile import read_procfile
from stager.project.tree import Tree
from stager.project.variables import Variable, read_variables


@dataclass(frozen=True, slots=True)
class Project:
    """What a repository's files say.

    Args:
        dockerfiles: the applications' Dockerfiles, the most likely one first.
        applications: those detected by their framework, each in a folder of its own. They are also detected
            where there is a Dockerfile.
        procfile: the commands of the `Procfile`, by process type.
        variables: the environment variables that the repository declares.
        compose: the Compose file at its root.
    """

    dockerfiles: tuple[Dockerfile, ...]
    applications: tuple[Detected, ...]
    procfile: Mapping[str, str]
    variables: tuple[Variable, ...]
    compose: compose.Reading | None


def survey(root: Path) -> Project:
    """Read the repository in a folder. Raises `OSError` if there is no such folder."""
    tree = Tree(root)
    return Project(
        find_dockerfiles(tree),
        detect_all(tree),
        read_procfile(tree),
        read_variables(tree),
        compose.read(tree),
    )
