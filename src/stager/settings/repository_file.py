"""The repository's own file, `.stager.yml`: what its authors say of how to build and run it, as far as the
administrator lets them. Every problem has its line."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from stager.domain.errors import Fault
from stager.domain.recipe import NOTHING_SAID, Manifest, Recipe
from stager.settings.loading import document
from stager.settings.loading.problems import ConfigurationError, Problem, Trail, path_of, problems_of
from stager.settings.sections.builds import HookCommands, RepositoryBuild, Variables, without_buildkits_own
from stager.settings.values.scalars import Form, PortNumber, UrlPath, Words
from stager.settings.values.section import Section

DEEPEST = 20
"""Levels of a file that lines are looked for in: deeper than anything that it may say."""

LARGEST = 32 * 1024
"""Bytes of a file: reading the worst takes some two seconds, in which nothing else happens."""

MOST_TOLD, LONGEST_TOLD = 100, 500
"""Problems of a file that are told, and characters of each."""

ALLOWED = "isn't for this file to say: the administrator keeps it to the configuration"


class RepositoryFile(Section):
    """All that can be said in `.stager.yml`."""

    port: PortNumber | None = None
    """Where the application listens inside the instance."""

    command: Words = ()
    """What to run, in the place of the image's `CMD`, so that an `ENTRYPOINT` comes before it; what the
    configuration says if empty, and else the image's own command."""

    health_path: Annotated[UrlPath | None, Form("path")] = None
    """What to ask an instance for to know that it works: 2xx or 3xx will do."""

    env: Variables = Field(default_factory=dict)
    """Environment variables of every instance. The configuration's win."""

    build: Annotated[
        RepositoryBuild | None,
        BeforeValidator(
            lambda data: {"context": data} if isinstance(data, str) else data,
            json_schema_input_type=RepositoryBuild | str | None,
        ),
        AfterValidator(without_buildkits_own),
    ] = None
    """How the image is built: a folder of the repository, or a mapping."""

    hooks: HookCommands = HookCommands()
    """Commands that run inside an instance."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a repository's own file says.

    Args:
        build: None when it says nothing of the build.
    """

    manifest: Manifest = NOTHING_SAID
    build: RepositoryBuild | None = None

    def recipe(self, configured: Recipe) -> Recipe:
        """The configured recipe with what the file says over it; secrets are the configuration's alone."""
        if self.build is None:
            return configured
        given = self.build.model_dump(include=self.build.model_fields_set - {"args"})
        return replace(configured, **given, arguments={**configured.arguments, **self.build.args})


ENDINGS = {".yml": ".yaml", ".yaml": ".yml"}
"""Both are usual."""


def names_of(name: str) -> tuple[str, ...]:
    """The names that a file of this name may have as well: with either ending of YAML files."""
    path = PurePosixPath(name)
    return (name, str(path.with_suffix(ENDINGS[path.suffix]))) if path.suffix in ENDINGS else (name,)


def read_file(content: bytes, name: str, allowed: Collection[str]) -> Said:
    """What the file says.

    Args:
        content: as it stands in the commit.
        name: what it is called, for errors.
        allowed: the keys that it may have.

    Raises:
        Fault: `repository-file-invalid`: it can't be used; the detail has every problem with its line.
    """
    problems, file = _read(content, name, allowed)
    if problems:
        raise _invalid(name, problems)
    return Said(
        Manifest(
            port=file.port,
            command=file.command,
            health_path=file.health_path,
            variables=file.env,
            hooks=file.hooks.hooks,
        ),
        file.build,
    )


def _read(content: bytes, name: str, allowed: Collection[str]) -> tuple[list[str], RepositoryFile]:
    if len(content) > LARGEST:
        return [f"is larger than {LARGEST >> 10} KiB"], RepositoryFile()
    try:
        text = content.decode("utf-8-sig")
        data = document.read(text, name)
    except UnicodeDecodeError:
        return ["isn't text in UTF-8"], RepositoryFile()
    except ConfigurationError as error:
        lines = _lines(text)
        return [_with_line(problem, lines) for problem in error.problems], RepositoryFile()
    lines = _lines(text)
    given = data.keys() & RepositoryFile.model_fields.keys() if isinstance(data, dict) else set()
    problems = [_with_line(Problem(key, ALLOWED), lines) for key in sorted(given - set(allowed))]
    try:
        return problems, RepositoryFile.model_validate(data)
    except ValidationError as error:
        found = problems_of(error, RepositoryFile, data)
        return [*problems, *(_with_line(problem, lines) for problem in found)], RepositoryFile()


def _invalid(name: str, problems: list[str]) -> Fault:
    told = [p if len(p) <= LONGEST_TOLD else f"{p[:LONGEST_TOLD]}…" for p in problems[:MOST_TOLD]]
    first = told[0] if len(problems) == 1 else f"{len(problems)} problems"
    return Fault(
        f"{name} can't be used: {first}",
        hint="The reference of that file says what may stand in it.",
        reason="repository-file-invalid",
        detail="\n".join(
            told if len(problems) == len(told) else [*told, f"and {len(problems) - len(told)} more"]
        ),
    )


def _with_line(problem: Problem, lines: Mapping[str, int]) -> str:
    """`line 3: port: should be an integer`; of what isn't there, the line of what it should be in."""
    path = problem.path
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return f"line {lines[path]}: {problem}" if path else str(problem)


def _lines(text: str) -> dict[str, int]:
    """The line at which each key stands, by its path."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return {}
    found: dict[str, int] = {}
    for path, line in _marks(node, (), set()):
        found.setdefault(path, line)
    return found


def _marks(node: Any, trail: Trail, seen: set[int]) -> Iterator[tuple[str, int]]:
    """Path and line of whatever lies in this node; what is referred to again, only in its first place."""
    if id(node) in seen or len(trail) > DEEPEST:
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
