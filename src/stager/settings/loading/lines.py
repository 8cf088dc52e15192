"""The lines of a YAML document's keys, for problems and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import yaml

from stager.settings.loading.problems import Problem, Trail, path_of

MAX_DEPTH = 20
"""Levels of nesting whose lines are recorded: deeper than any valid file."""


def with_lines(problems: Iterable[Problem], text: str) -> list[Problem]:
    """Add to each problem its line in this document, and sort them by line. A problem of a missing key gets
    the line of the enclosing mapping."""
    problems = list(problems)
    lines = lines_of(text) if problems else {}
    found = [replace(problem, line=problem.line or _line(problem.path, lines)) for problem in problems]
    return sorted(found, key=lambda problem: problem.line)


def _line(path: str, lines: Mapping[str, int]) -> int:
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path, 0)


def lines_of(text: str) -> dict[str, int]:
    """Return the line of each key of a document, by its path."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return {}
    found: dict[str, int] = {}
    for path, line in _marks(node, (), set()):
        found.setdefault(path, line)
    return found


def _marks(node: Any, trail: Trail, seen: set[int]) -> Iterator[tuple[str, int]]:
    """Path and line of everything in this node; aliased nodes only at their first occurrence."""
    if id(node) in seen or len(trail) > MAX_DEPTH:
        return
    seen.add(id(node))
    for place, mark, value in _inner(node, trail):
        yield path_of(place), mark.line + 1
        yield from _marks(value, place, seen)


def _inner(node: Any, trail: Trail) -> Iterator[tuple[Trail, Any, Any]]:
    if isinstance(node, yaml.MappingNode):
        named = ((key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode))
        yield from (((*trail, key.value), key.start_mark, value) for key, value in named)
    elif isinstance(node, yaml.SequenceNode):
        yield from (((*trail, i), value.start_mark, value) for i, value in enumerate(node.value))
