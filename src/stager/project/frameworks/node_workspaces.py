"""Workspaces of npm, Yarn, pnpm and Bun: an application in a folder of a repository whose root has the lock
file for all of them (https://docs.npmjs.com/cli/using-npm/workspaces, https://pnpm.io/workspaces)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from stager.project.frameworks.text import is_safe_path
from stager.project.tree import Tree

PNPM = "pnpm-workspace.yaml"
MOST_PATTERNS = 100

LONGEST_PATTERN = 99
"""Characters of a pattern that is read."""

MOST_WILDCARDS = 3
"""Wildcards of a pattern that is read. The time of a regular expression grows exponentially with them."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """An application's place in a workspace.

    Args:
        tree: the folder with the lock file.
        path: the application's folder, relative to it.
    """

    tree: Tree
    path: str


def find_workspace(tree: Tree) -> Workspace | None:
    """Return the workspace that a folder belongs to; None for none."""
    folder = PurePosixPath(tree.folder)
    for parent in folder.parents:
        above, path = Tree(tree.root, str(parent)), str(folder.relative_to(parent))
        if is_safe_path(path) and _contains(tuple(_patterns(above)), path):
            return Workspace(above, path)
    return None


def _contains(patterns: tuple[str, ...], path: str) -> bool:
    excluded = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    included = [pattern for pattern in patterns if not pattern.startswith("!")]
    return _matches(included, path) and not _matches(excluded, path)


def _matches(patterns: list[str], path: str) -> bool:
    bounded = (each for each in patterns if len(re.findall(r"\*+", each)) <= MOST_WILDCARDS)
    return any(re.fullmatch(_expression(pattern), path) for pattern in bounded)


def _expression(pattern: str) -> str:
    """The regular expression of a glob pattern: `*` is a part of a name, `**` any number of folders."""
    plain = pattern.removeprefix("./").strip("/")
    kinds = {"**": ".*", "*": "[^/]*"}
    return "".join(kinds.get(part) or re.escape(part) for part in re.split(r"(\*\*|\*)", plain))


def _patterns(tree: Tree) -> Iterator[str]:
    listed = tree.json("package.json").get("workspaces")
    found = [*_list(listed.get("packages") if isinstance(listed, dict) else listed)]
    with suppress(yaml.YAMLError, ValueError, RecursionError):
        data = yaml.safe_load(tree.text(PNPM) or "{}")
        found += _list(data.get("packages") if isinstance(data, dict) else None)
    yield from (
        each for each in found[:MOST_PATTERNS] if isinstance(each, str) and len(each) <= LONGEST_PATTERN
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
