"""Puts together what `stager up` builds and runs, before its server starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from stager.cli.up.base_image import inspect
from stager.cli.up.build_choice import BuildChoice, BuildChooser
from stager.cli.up.compose_choice import ComposeChoice, choose_compose
from stager.cli.up.options import BuildOptions, Options
from stager.cli.up.prepared import Prepared, repository_file
from stager.cli.up.run_choice import RunChoice, RunChooser
from stager.cli.up.terminal import Terminal, listed
from stager.cli.up.variables import SecretGenerator, Variables, completed, given_variables
from stager.project.compose import Reading
from stager.project.detected import IN_PAGES
from stager.project.dockerfile import declared
from stager.project.last_stage import read_last_stage
from stager.project.survey import Project, survey
from stager.project.tree import Tree
from stager.project.variables import Variable, read_variables
from stager.settings.repository_file import ParsedFile, read_file
from stager.settings.sections.applications import RepositoryKey

KEYS = frozenset(get_args(RepositoryKey))

MOST_REFUSALS = 3
"""Refusals of a Compose file that are shown; `stager explain` lists all."""

WORD = re.compile(r"\w+")

VALUE = "STAGER_UP_VALUE_{}"
"""The name under which the configuration refers to a variable's value, which no file has."""


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
        chooser = BuildChooser(folder, project, file, terminal)
        return _with_services(compose, chooser, file, options, given)
    build = BuildChooser(folder, project, file, terminal).choose(options.build)
    missing = () if file.declared.services else _missing_services(project.compose, build)
    given = given_variables(options.given, folder, terminal, is_tracked=is_env_tracked)
    known = _declared(project, tree, build, file)
    variables = completed(given, known, missing, SecretGenerator(key), terminal)
    text = _dockerfile(tree, build, variables, given)
    arguments = {
        **(file.build.args if file.build else {}),
        **variables.values,
        **variables.build_arguments,
    }
    run = RunChooser(tree, project, file, terminal, inspect).choose(build, options.port, arguments)
    application, environ = _application(build, run, text, variables, variables.confidential(known))
    return Prepared(
        application,
        environ,
        _forced(options, application, file, variables),
        _generated(tree, build, text),
        tuple(_notes(build, run, missing, project.compose, tree, variables)),
        run.default_command,
    )


def _with_services(
    compose: ComposeChoice, chooser: BuildChooser, file: ParsedFile, options: Options, given: Variables
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
        own = {name: _literal(value) for name, value in given.build_arguments.items()}
        entry["build"] = {"auto": True, "secrets": entry["build"]["secrets"]} | ({"args": own} if own else {})
    entry["env"] = entry.pop("secrets")
    entry |= compose.entry
    notes = (*compose.notes, *given.notes)
    return Prepared(
        entry,
        environ,
        _forced(options, entry, file, given),
        _generated(tree, build, text) if build else {},
        notes,
    )


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
    own = {name: _literal(value) for name, value in variables.build_arguments.items()}
    # A secret is masked in the build's log, also where it is passed as an argument.
    wanted = read_last_stage(text, {}).secrets | (arguments.keys() & confidential)
    context, dockerfile = build.built
    built: dict[str, Any] = {
        "context": _literal(context),
        "dockerfile": _literal(dockerfile),
        "target": build.target,
        "args": {**arguments, **own},
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


def _forced(
    options: Options, application: Mapping[str, Any], file: ParsedFile, given: Variables
) -> dict[str, Any]:
    """The keys of the repository file that options override. Its build arguments would take precedence over
    those of the configuration."""
    forced: dict[str, Any] = {"port": options.port} if options.port else {}
    if options.build != BuildOptions():
        build = application["build"]
        forced["build"] = {"auto": False, **{key: build[key] for key in ("context", "dockerfile", "target")}}
    arguments = file.build.args if file.build else {}
    if arguments.keys() & given.build_arguments.keys():
        own = {name: given.build_arguments.get(name, value) for name, value in arguments.items()}
        forced["build"] = {**forced.get("build", {}), "args": own}
    return forced


def _dockerfile(tree: Tree, build: BuildChoice, variables: Variables, given: Variables) -> str:
    """The Dockerfile's text. A generated one declares the variables that a build may need: given ones, and
    those that a framework's build puts into pages."""
    if build.dockerfile is not None:
        return tree.text(build.dockerfile.path)
    if build.detected is None:
        return ""
    names = [name for name in variables.values if name in given.values or name.startswith(IN_PAGES)]
    return build.detected.with_arguments([*names, *given.build_arguments]).dockerfile


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
