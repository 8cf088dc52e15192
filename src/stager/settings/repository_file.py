"""Reads the repository file, `.stager.yml`: build and run settings that live in the repository, restricted to
the keys that the configuration allows. Every problem has its line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from stager.domain.errors import Fault
from stager.domain.recipe import EMPTY_MANIFEST, Manifest, Recipe
from stager.domain.stack import StackDeclaration
from stager.settings.loading import document
from stager.settings.loading.lines import with_lines
from stager.settings.loading.problems import ConfigurationError, Problem, problems_of
from stager.settings.sections.applications import App
from stager.settings.sections.builds import (
    HookCommands,
    RepositoryBuild,
    Variables,
    as_build,
    without_buildkit_arguments,
)
from stager.settings.sections.foreign_keys import FOREIGN_KEYS
from stager.settings.sections.pictures import RepositoryPictures
from stager.settings.sections.services.keys import ConfiguredServices, ServiceKeys
from stager.settings.sections.services.service import RepositoryService, as_service
from stager.settings.values.scalars import Form, PortNumber, UrlPath, Words

MAX_SIZE = 32 * 1024
"""Bytes of a file. Parsing the worst file of this size blocks the event loop for about two seconds."""

MAX_PROBLEMS, MAX_PROBLEM_LENGTH = 100, 500
"""Problems of a file that are reported, and characters of each."""

NOT_ALLOWED = "isn't allowed in this file by `repository_file_keys` in the configuration"


CONFIGURED = "belongs to the server's configuration, under an entry of `images`"


class RepositoryFile(ServiceKeys):
    """The content of `.stager.yml`."""

    form: ClassVar = "port: 3000"
    misplaced: ClassVar = {
        **dict.fromkeys(App.model_fields, CONFIGURED),
        "secrets": f"{CONFIGURED}, because every reader of the repository reads this file",
        **FOREIGN_KEYS,
    }

    port: Annotated[PortNumber | None, Field(examples=["3000"])] = None
    """Port that the application listens on inside the container."""

    command: Words = ()
    """Command to run instead of the image's `CMD`; an `ENTRYPOINT` precedes it. If empty, that of the
    configuration or the image."""

    health_path: Annotated[UrlPath | None, Form("path")] = None
    """Path of the health check, healthy with status 2xx or 3xx."""

    env: Variables = Field(default_factory=dict, examples=["{RAILS_ENV: staging}"])
    """Environment variables of each instance. Those of the configuration take precedence."""

    build: Annotated[
        RepositoryBuild | None,
        BeforeValidator(
            as_build,
            json_schema_input_type=RepositoryBuild | str | None,
        ),
        AfterValidator(without_buildkit_arguments),
    ] = None
    """How the image is built: `auto`, a folder of the repository, or a mapping."""

    hooks: HookCommands = HookCommands()
    """Commands that run inside an instance."""

    pictures: RepositoryPictures = RepositoryPictures()
    """Pictures of the preview's pages. See [Pictures of previews](../how-to/pictures.md)."""

    services: dict[
        str,
        Annotated[
            RepositoryService, BeforeValidator(as_service, json_schema_input_type=RepositoryService | str)
        ],
    ] = Field(default_factory=dict, examples=["{database: postgres:16}"])
    """Services beside the application, by name: databases, workers, jobs. See [Services](services.md). They
    replace services of the same name in the configuration."""

    def entries(self) -> Mapping[str, RepositoryService]:
        return self.services


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A parsed repository file.

    Args:
        build: None if the file has no `build`.
        declared: what the file declares about services.
    """

    manifest: Manifest = EMPTY_MANIFEST
    build: RepositoryBuild | None = None
    declared: StackDeclaration = field(default_factory=StackDeclaration)

    def recipe(self, configured: Recipe) -> Recipe:
        """Return the configured recipe overridden by the file; secrets come from the configuration only."""
        if self.build is None:
            return configured
        given = self.build.model_dump(include=self.build.model_fields_set - {"args"})
        return replace(configured, **given, arguments={**configured.arguments, **self.build.args})


SUFFIXES = {".yml": ".yaml", ".yaml": ".yml"}
"""Interchangeable suffixes."""


def names_of(name: str) -> tuple[str, ...]:
    """Return the accepted names of a file: the given one, and the one with the other YAML suffix."""
    path = PurePosixPath(name)
    return (name, str(path.with_suffix(SUFFIXES[path.suffix]))) if path.suffix in SUFFIXES else (name,)


def read_file(
    content: bytes, name: str, allowed: Collection[str], services: Iterable[str] = ()
) -> ParsedFile:
    """Parse and validate a repository file.

    Args:
        content: the file's content in the commit.
        name: its path, for errors.
        allowed: the keys that it may have.
        services: names of the services that the configuration declares.

    Raises:
        Fault: `repository-file-invalid`: it is invalid; the detail has every problem with its line.
    """
    problems, file = _read(content, name, allowed, ConfiguredServices(frozenset(services)))
    if problems:
        raise _invalid(name, problems)
    return ParsedFile(
        Manifest(
            port=file.port,
            command=file.command,
            health_path=file.health_path,
            variables=file.env,
            hooks=file.hooks.hooks,
            pictures=file.pictures.spec,
        ),
        file.build,
        file.declared,
    )


def _read(
    content: bytes, name: str, allowed: Collection[str], configured: ConfiguredServices
) -> tuple[list[str], RepositoryFile]:
    if len(content) > MAX_SIZE:
        return [f"is larger than {MAX_SIZE >> 10} KiB"], RepositoryFile()
    try:
        text = content.decode("utf-8-sig")
        problems, file = _validated(document.read(text, name), allowed, configured)
    except UnicodeDecodeError:
        return ["isn't text in UTF-8"], RepositoryFile()
    except ConfigurationError as error:
        problems, file = list(error.problems), RepositoryFile()
    return [str(problem) for problem in with_lines(problems, text)], file


def _validated(
    data: document.Data, allowed: Collection[str], configured: ConfiguredServices
) -> tuple[list[Problem], RepositoryFile]:
    given = data.keys() & RepositoryFile.model_fields.keys() if isinstance(data, dict) else set()
    problems = [Problem(key, NOT_ALLOWED) for key in sorted(given - set(allowed))]
    try:
        return problems, RepositoryFile.model_validate(data, context=configured)
    except ValidationError as error:
        return [*problems, *problems_of(error, RepositoryFile, data)], RepositoryFile()


def _invalid(name: str, problems: list[str]) -> Fault:
    shown = [
        p if len(p) <= MAX_PROBLEM_LENGTH else f"{p[:MAX_PROBLEM_LENGTH]}…" for p in problems[:MAX_PROBLEMS]
    ]
    first = shown[0] if len(problems) == 1 else f"{len(problems)} problems"
    return Fault(
        f"{name} is invalid: {first}",
        hint="See the reference page of the repository file for its keys.",
        reason="repository-file-invalid",
        detail="\n".join(
            shown if len(problems) == len(shown) else [*shown, f"and {len(problems) - len(shown)} more"]
        ),
    )
