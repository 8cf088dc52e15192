"""Puts together what `stager up` builds and runs, before its server starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import yaml

from stager.cli.up.base_image import inspect
from stager.cli.up.build_choice import BuildChoice, BuildChooser, BuildOptions
from stager.cli.up.compose_choice import ComposeChoice, choose_compose
from stager.cli.up.run_choice import RunChoice, RunChooser
from stager.cli.up.terminal import Terminal, listed
from stager.cli.up.variables import Given, SecretGenerator, Variables, completed, given_variables
from stager.project.compose import Reading
from stager.project.detected import IN_PAGES
from stager.project.dockerfile import declared
from stager.project.last_stage import read_last_stage
from stager.project.survey import Project, survey
from stager.project.tree import Tree
from stager.project.variables import Variable, read_variables
from stager.settings.repository_file import ParsedFile, names_of, read_file
from stager.settings.sections.applications import RepositoryKey

REPOSITORY_FILE = ".stager.yml"
KEYS = frozenset(get_args(RepositoryKey))

MOST_REFUSALS = 3
"""Refusals of a Compose file that are shown; `stager explain` lists all."""

WORD = re.compile(r"\w+")

VALUE = "STAGER_UP_VALUE_{}"
"""The name under which the configuration refers to a variable's value, which no file has."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command."""

    build: BuildOptions
    port: int | None
    given: Given


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is built and run.

    Args:
        application: the entry under `images:`.
        environ: the values that it refers to.
        forced: what replaces keys of the repository file, because an option says so.
        generated: files that are generated, by their path.
        notes: what to tell the user, one sentence each.
        default_command: see `RunChoice`.
    """

    application: Mapping[str, Any]
    environ: Mapping[str, str] = field(repr=False)
    forced: Mapping[str, Any]
    generated: Mapping[str, bytes]
    notes: tuple[str, ...]
    default_command: str = ""

    def overlay(self, folder: Path) -> dict[str, bytes]:
        """Return the files that replace those of the folder."""
        files = {path: text for path, text in self.generated.items() if not (folder / path).exists()}
        if self.forced:
            name, content = repository_file(folder)
            with suppress(yaml.YAMLError, ValueError):  # the server reports it
                data = yaml.safe_load(content) or {}
                if isinstance(data, dict):
                    files[name or REPOSITORY_FILE] = yaml.safe_dump(_merged(data, self.forced)).encode()
        return files


def prepare(
    folder: Path, key: Path, options: Options, terminal: Terminal, *, is_env_tracked: bool
) -> Prepared:
    """Decide what is built and run.

    Args:
        folder: absolute.
        key: the file with the key of generated secrets.
        is_env_tracked: whether the folder's own repository has its `.env`.

    Raises:
        Refused: `no-build`, `build-option-invalid`, `app-port-unknown`, `variable-invalid`.
        Fault: `repository-file-invalid`.
    """
    name, content = repository_file(folder)
    file = read_file(content, name, KEYS) if name else ParsedFile()
    project, tree = survey(folder), Tree(folder)
    compose = choose_compose(tree, project.compose, file, options.build, terminal)
    if isinstance(compose, ComposeChoice):
        given = given_variables(options.given, folder, terminal, is_tracked=is_env_tracked)
        return _with_services(compose, BuildChooser(folder, project, file, terminal), options, given)
    build = BuildChooser(folder, project, file, terminal).choose(options.build)
    missing = () if file.declared.services else _missing_services(project.compose, build)
    given = given_variables(options.given, folder, terminal, is_tracked=is_env_tracked)
    known = _declared(project, tree, build, file)
    variables = completed(given, known, missing, SecretGenerator(key), terminal)
    text = _dockerfile(tree, build, variables, given)
    arguments = {**(file.build.args if file.build else {}), **variables.values}
    run = RunChooser(tree, project, file, terminal, inspect).choose(build, options.port, arguments)
    application, environ = _application(build, run, text, variables, variables.confidential(known))
    return Prepared(
        application,
        environ,
        _forced(options, application),
        _generated(tree, build, text),
        tuple(_notes(build, run, missing, project.compose, tree, variables)),
        run.default_command,
    )


def _with_services(
    compose: ComposeChoice, chooser: BuildChooser, options: Options, given: Variables
) -> Prepared:
    """What is built and run of a Compose file. Its main service's own settings are left to the server, which
    reads the same file.

    Args:
        given: the variables of the options. The file may refer to them.
    """
    main, tree = compose.main, chooser.tree
    build = None if main.image else chooser.of_service(main, compose.reading.path)
    if build is None and main.is_built:
        build = chooser.choose(options.build)
    text = _dockerfile(tree, build, given, given) if build else ""
    run = RunChoice(options.port)
    entry, environ = _application(build or BuildChoice(".", ""), run, text, given, given.confidential(()))
    if main.build is not None or main.image:
        entry["build"] = {"auto": True, "secrets": entry["build"]["secrets"]}
    entry["env"] = entry.pop("secrets")
    entry |= compose.entry
    notes = (*compose.notes, *given.notes)
    return Prepared(
        entry, environ, _forced(options, entry), _generated(tree, build, text) if build else {}, notes
    )


def repository_file(folder: Path) -> tuple[str, bytes]:
    """Return the name and the content of the folder's repository file; empty without one."""
    for name in names_of(REPOSITORY_FILE):
        with suppress(OSError):
            return name, (folder / name).read_bytes()
    return "", b""


def _declared(project: Project, tree: Tree, build: BuildChoice, file: ParsedFile) -> tuple[Variable, ...]:
    """The variables that the repository declares, those of the context's own folder first."""
    own = () if build.context == "." else read_variables(tree.below(build.context))
    found = {each.name: each for each in (*project.variables, *own)}
    return tuple(each for each in found.values() if each.name not in file.manifest.variables)


def _missing_services(compose: Reading | None, build: BuildChoice) -> tuple[str, ...]:
    """The Compose services that aren't started. Without a `service`, the one with the same Dockerfile is."""
    if compose is None:
        return ()
    path = PurePosixPath(build.dockerfile.path if build.dockerfile else "")
    same = (each for each in compose.services if each.build and path.is_relative_to(each.build.context))
    started = build.service or next(same, None)
    return tuple(each.name for each in compose.services if each is not started)


def _application(
    build: BuildChoice, run: RunChoice, text: str, variables: Variables, confidential: frozenset[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The entry under `images:`, and the values that it refers to.

    Args:
        text: the Dockerfile's.
    """
    references = {name: VALUE.format(number) for number, name in enumerate(variables.values)}
    environ = {reference: variables.values[name] for name, reference in references.items()}
    values = {name: f"${{{reference}}}" for name, reference in references.items()}
    arguments = {name: values[name] for name in values.keys() & declared(text)}
    # A secret is masked in the build's log, also where it is passed as an argument.
    wanted = read_last_stage(text, {}).secrets | (arguments.keys() & confidential)
    context, dockerfile = build.built
    built: dict[str, Any] = {
        "context": _literal(context),
        "dockerfile": _literal(dockerfile),
        "target": build.target,
        "args": arguments,
        "secrets": {name: values[name] for name in values.keys() & wanted},
    }
    given = {
        "port": run.port,
        "command": [_literal(word) for word in run.command],
        "health_path": build.detected.health_path if build.detected and not build.dockerfile else "",
    }
    return {
        "build": built,
        **{key: value for key, value in given.items() if value},
        "secrets": values,
    }, environ


def _literal(text: str) -> str:
    """A text as it is written in the configuration, where `${` begins a reference."""
    return text.replace("${", "$${")


def _forced(options: Options, application: Mapping[str, Any]) -> dict[str, Any]:
    forced: dict[str, Any] = {"port": options.port} if options.port else {}
    if options.build != BuildOptions():
        build = application["build"]
        forced["build"] = {"auto": False, **{key: build[key] for key in ("context", "dockerfile", "target")}}
    return forced


def _merged(data: dict[Any, Any], forced: Mapping[str, Any]) -> dict[Any, Any]:
    build = data.get("build")
    old = build if isinstance(build, dict) else {}
    return {**data, **forced, **({"build": {**old, **forced["build"]}} if "build" in forced else {})}


def _dockerfile(tree: Tree, build: BuildChoice, variables: Variables, given: Variables) -> str:
    """The Dockerfile's text. A generated one declares the variables that a build may need: given ones, and
    those that a framework's build puts into pages."""
    if build.dockerfile is not None:
        return tree.text(build.dockerfile.path)
    if build.detected is None:
        return ""
    names = [name for name in variables.values if name in given.values or name.startswith(IN_PAGES)]
    return build.detected.with_arguments(names).dockerfile


def _generated(tree: Tree, build: BuildChoice, text: str) -> dict[str, bytes]:
    if build.dockerfile is not None or build.detected is None:
        return {}
    below = tree.below(build.context)
    prefix = "" if build.context == "." else f"{build.context}/"
    files = {f"{prefix}Dockerfile": text.encode()}
    if build.detected.context:
        # BuildKit reads it instead of the `.dockerignore` of the build context, another folder.
        files[f"{prefix}Dockerfile.dockerignore"] = build.detected.dockerignore.encode()
    elif not below.has(".dockerignore"):
        files[f"{prefix}.dockerignore"] = build.detected.dockerignore.encode()
    return files


def _notes(
    build: BuildChoice,
    run: RunChoice,
    missing: tuple[str, ...],
    compose: Reading | None,
    tree: Tree,
    variables: Variables,
) -> Iterator[str]:
    path = build.dockerfile.path if build.dockerfile else "generated"
    within = f", built in {build.context}" if build.dockerfile and build.context != "." else ""
    why = f" ({build.why})" if build.why else ""
    yield f"Dockerfile: {path}{within}{why}"
    if build.dockerfile is None and build.detected:
        set_ones = variables.values.keys()
        yield from (note for note in build.detected.notes if not set_ones & set(WORD.findall(note)))
    copied = build.dockerfile.missing if build.dockerfile else ()
    if missing_sources := [source for source in copied if source.split("/")[0] != ".git"]:
        yield f"{path} copies files that don't exist: {listed(missing_sources)}."
    if lacking := sorted(run.secrets - variables.values.keys()):
        yield f"Not set: the build secrets {listed(lacking)}. Set them with --env NAME=VALUE or --env-file."
    if run.port:
        yield f"Port: {run.port} ({run.port_why})"
    if run.command:
        shown = run.command[-1].splitlines()[-1].removeprefix("exec ")
        yield f"Command: {shown} ({run.command_why}; {path} has no CMD)"
    if missing and compose:
        yield f"Not started: the services of {compose.path} ({listed(missing)})."
        yield from map(str, compose.refusals[:MOST_REFUSALS])
    if empty := _empty_submodules(tree):
        yield f"Not checked out: {listed(empty)}. Run `git submodule update --init --recursive`."
    yield from variables.notes


def _empty_submodules(tree: Tree) -> tuple[str, ...]:
    lines = (line.partition("=") for line in tree.text(".gitmodules").splitlines())
    paths = [value.strip() for key, _, value in lines if key.strip() == "path"]
    return tuple(path for path in paths if tree.has_folder(path) and not _has_files(tree.root / path))


def _has_files(folder: Path) -> bool:
    with suppress(OSError):
        return any(os.scandir(folder))
    return True
