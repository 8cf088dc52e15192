"""How an application's image is made of its repository, and what runs inside an instance of it."""

from __future__ import annotations

import posixpath
import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from stager.domain.pull_requests.rules import Rules
from stager.domain.recipe import Hooks, Recipe
from stager.settings.loading.refusals import Unfit, refuse
from stager.settings.values.patterns import Pattern, pattern
from stager.settings.values.scalars import POSITIVE, Duration, Form, Words, one_or_many
from stager.settings.values.secret import Secret
from stager.settings.values.section import Section

Value = TypeVar("Value")


def _inside(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not value or not value.isprintable():
        raise Unfit('should be a path within the repository such as "web"')
    return str(path)


InsidePath = Annotated[str, AfterValidator(_inside), Form("path")]


def _relative(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or not value or not value.isprintable() or path.name in ("", ".."):
        raise Unfit('should be a path within the repository such as "Dockerfile"')
    return str(path)


RelativePath = Annotated[str, AfterValidator(_relative), Form("path")]
"""One that may begin with `..`: what it starts from is known only when something is built."""


def _runnable(command: tuple[str, ...]) -> tuple[str, ...]:
    if not command or not command[0]:
        raise Unfit("should be a command with a program")
    return command


Commands = Annotated[
    tuple[Annotated[Words, AfterValidator(_runnable)], ...],
    BeforeValidator(one_or_many, json_schema_input_type=str | list[str | list[str]]),
]


def _as_written(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def nameable(variables: dict[str, Value]) -> dict[str, Value]:
    """Refuse, all at once, names that no variable can have."""
    wrong = [name for name in variables if not name or "=" in name or "\0" in name]
    if wrong:
        refuse(*(((name,), "isn't a name that a variable can have") for name in wrong))
    return variables


Variables = Annotated[
    dict[str, Annotated[str, BeforeValidator(_as_written, json_schema_input_type=str | float | bool)]],
    AfterValidator(nameable),
]


class RepositoryBuild(Section):
    """What a repository's own file may say of its build."""

    context: InsidePath = "."
    """The folder that is built, from the repository's root."""

    dockerfile: RelativePath = "Dockerfile"
    """The Dockerfile, from `context`. It may be outside of that, such as `../docker/web.Dockerfile`, but not
    outside of the repository."""

    target: str = ""
    """The stage to build; the last one if empty."""

    args: Variables = Field(default_factory=dict)
    """Values for the Dockerfile's `ARG` lines. Anybody who has the image can read them: secrets go elsewhere.
    Only the configuration may give those that BuildKit reads itself: proxies (`http_proxy` and the like) and
    `BUILDKIT_*`, in any case."""

    @model_validator(mode="after")
    def _dockerfile_within_the_repository(self) -> Self:
        # Where only the Dockerfile is given here, the context may be given elsewhere.
        is_known = "context" in self.model_fields_set or ".." not in self.dockerfile
        if is_known and posixpath.normpath(posixpath.join(self.context, self.dockerfile)).startswith(".."):
            refuse((("dockerfile",), "should be a path within the repository, and leads out of it"))
        return self


BUILDKITS_OWN = re.compile(r"(http|https|ftp|no|all)_proxy|buildkit_.*", re.IGNORECASE | re.DOTALL)
"""Arguments that BuildKit takes without an `ARG` line (Dockerfile reference, "Predefined ARGs" and "BuildKit
built-in build args"). Proxies aren't part of the cache's key, so a build through a proxy of its choice fills
steps that every other build takes from the cache. `BUILDKIT_SYNTAX` replaces the frontend, and
`BUILDKIT_CACHE_MOUNT_NS` opens other builds' cache mounts."""


def without_buildkits_own(build: RepositoryBuild | None) -> RepositoryBuild | None:
    """Refuse, all at once, arguments that decide more than this one build."""
    wrong = [name for name in (build.args if build else ()) if BUILDKITS_OWN.fullmatch(name)]
    if wrong:
        refuse(*((("args", name), "can't be given here; only the configuration may") for name in wrong))
    return build


class Build(RepositoryBuild):
    """How the image is built from the change's commit. A text counts as its `context`."""

    secrets: dict[str, Secret] = Field(default_factory=dict)
    """BuildKit secrets by their ids, for `RUN --mount=type=secret,id=...`. Code from forks gets none."""

    timeout: Annotated[Duration, POSITIVE] = 1_800.0
    """How long a build may take."""

    @property
    def recipe(self) -> Recipe:
        """The recipe as builders take it."""
        return Recipe(
            context=self.context,
            dockerfile=self.dockerfile,
            target=self.target,
            arguments=self.args,
            secrets={name: secret.reveal() for name, secret in self.secrets.items()},
        )


def _with_context(data: Any) -> Any:
    if isinstance(data, bool):
        return {} if data else None
    return {"context": data} if isinstance(data, str) else data


OptionalBuild = Annotated[
    Build | None, BeforeValidator(_with_context, json_schema_input_type=Build | str | bool | None)
]


class HookCommands(Section):
    """Commands that run inside an instance. One may run again after Stager was killed in the middle of it."""

    after_launch: Commands = ()
    """Once the instance answers and before anybody is sent there, such as filling a database."""

    before_kill: Commands = ()
    """Before the preview is removed."""

    @property
    def hooks(self) -> Hooks:
        """The hooks as control takes them."""
        return Hooks(self.after_launch, self.before_kill)


_ONE_OR_MANY = BeforeValidator(one_or_many, json_schema_input_type=str | list[str])
Texts = Annotated[tuple[str, ...], _ONE_OR_MANY]


_Pattern = Annotated[str, AfterValidator(pattern)]


class PullRequests(Section):
    """Which pull requests get a preview. Those that don't are told why, once. `[skip preview]` in a title or
    a description always means none."""

    labels: Texts = ()
    """Only those that bear one of these labels."""

    without_labels: Texts = ()
    """Only those that bear none of these labels."""

    title: _Pattern = ""
    """Only those whose title contains what this regular expression matches, such as `^feat`. In RE2's
    syntax, which has no lookaround and no backreferences; `(?i)` at its beginning ignores case."""

    without_title: _Pattern = ""
    """Only those whose title doesn't contain what this regular expression matches, such as `(?i)^wip`."""

    paths: Texts = ()
    """Only those that touch a file that fits one of these patterns, such as `web/*`; `*` matches `/` too."""

    authors: Texts = ()
    """Only those that one of these accounts opened."""

    bases: Texts = ()
    """Only those for a branch that fits one of these patterns, such as `main` or `release/*`."""

    drafts: bool = True
    """Whether drafts get one."""

    bots: bool = False
    """Whether those that programs open get one, such as updates of dependencies."""

    wait_for_checks: bool = False
    """Whether the checks of a commit must have passed first."""

    @property
    def rules(self) -> Rules:
        """The rules as the domain takes them."""
        given = self.model_dump()
        patterns = {key: Pattern(given[key]) if given[key] else None for key in ("title", "without_title")}
        return Rules(**{**given, **patterns})


def required_port(port: int | None, build: Build | None) -> None:
    """Refuse an application of which nobody says where it listens."""
    if port is None and build is None:
        refuse((("port",), "is required"))
