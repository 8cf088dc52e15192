"""The repository's own file, `.stager.yml`: what its authors say of how to build and run it, as far as the
administrator lets them. Every problem has its line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from stager.domain.errors import Fault
from stager.domain.recipe import NOTHING_SAID, Manifest, Recipe
from stager.settings import document
from stager.settings.base import Section
from stager.settings.building import HookCommands, RepositoryBuild
from stager.settings.problems import ConfigurationError, Problem, Trail, path_of, problems_of
from stager.settings.values import Form, PortNumber, UrlPath, Words

ALLOWED = "isn't for this file to say: the administrator keeps it to the configuration"


class RepositoryFile(Section):
    """All that can be said in `.stager.yml`."""

    port: PortNumber | None = None
    """Where the application listens inside the instance."""

    command: Words = ()
    """What to run; the image's own command if empty."""

    health_path: Annotated[UrlPath | None, Form("path")] = None
    """What to ask an instance for to know that it works: 2xx or 3xx will do."""

    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of every instance. The configuration's win."""

    build: Annotated[
        RepositoryBuild | None,
        BeforeValidator(
            lambda data: {"context": data} if isinstance(data, str) else data,
            json_schema_input_type=RepositoryBuild | str | None,
        ),
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


def read_file(content: bytes, name: str, allowed: Collection[str]) -> Said:
    """What the file says.

    Args:
        content: as it stands in the commit.
        name: what it is called, for errors.
        allowed: the keys that it may have.

    Raises:
        Fault: `repository-file-invalid`: it can't be used; the detail has every problem with its line.
    """
    try:
        text = content.decode("utf-8-sig")
        problems, file = _read(text, name, allowed)
    except UnicodeDecodeError:
        problems, file = ["isn't text in UTF-8"], RepositoryFile()
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


def _read(text: str, name: str, allowed: Collection[str]) -> tuple[list[str], RepositoryFile]:
    try:
        data = document.read(text, name)
    except ConfigurationError as error:
        return [_with_line(problem, _lines(text)) for problem in error.problems], RepositoryFile()
    lines = _lines(text)
    given = data.keys() & RepositoryFile.model_fields.keys() if isinstance(data, dict) else set()
    problems = [_with_line(Problem(key, ALLOWED), lines) for key in sorted(given - set(allowed))]
    try:
        return problems, RepositoryFile.model_validate(data)
    except ValidationError as error:
        found = problems_of(error, RepositoryFile, data)
        return [*problems, *(_with_line(problem, lines) for problem in found)], RepositoryFile()


def _invalid(name: str, problems: list[str]) -> Fault:
    first = problems[0] if len(problems) == 1 else f"{len(problems)} problems"
    return Fault(
        f"{name} can't be used: {first}",
        hint="The reference of that file says what may stand in it.",
        reason="repository-file-invalid",
        detail="\n".join(problems),
    )


def _with_line(problem: Problem, lines: Mapping[str, int]) -> str:
    """`line 3: port: should be an integer`; of what isn't there, the line of what it should be in."""
    path = problem.path
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return f"line {lines[path]}: {problem}" if path else str(problem)


def _lines(text: str) -> dict[str, int]:
    """The line at which each key stands, by its path."""
    found: dict[str, int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return found
    _collect(node, (), found, depth=0)
    return found


def _collect(node: Any, trail: Trail, found: dict[str, int], depth: int) -> None:
    if depth > 20:  # deeper than anything that the file may say
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*trail, str(key.value))
            found.setdefault(path_of(place), key.start_mark.line + 1)
            _collect(value, place, found, depth + 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            found.setdefault(path_of((*trail, index)), value.start_mark.line + 1)
            _collect(value, (*trail, index), found, depth + 1)
