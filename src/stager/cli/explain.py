"""`stager explain`: what would run from a checkout. Needs no server."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stager.cli.client.output import echo
from stager.cli.up.build_choice import BuildChoice, BuildChooser
from stager.cli.up.options import BuildOptions
from stager.cli.up.preparation import KEYS
from stager.cli.up.prepared import repository_file
from stager.cli.up.terminal import SilentTerminal
from stager.domain.errors import Fault, Refused
from stager.domain.recipe import Recipe
from stager.domain.service import MAIN_SERVICE, ServiceCheck, ServiceSpec
from stager.domain.stack import check_hooks
from stager.project import compose
from stager.project.compose import Note, Options, Place, Refusal
from stager.project.explanation import Explanation
from stager.project.survey import survey
from stager.project.tree import Tree
from stager.settings.repository_file import ParsedFile, read_file

_LINE = re.compile(r"line (\d+): ")


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(explain)


def explain(
    folder: Annotated[Path, typer.Argument(help="Folder of the checkout.", show_default="this one")] = Path(),
    *,
    profile: Annotated[
        list[str], typer.Option(help="Profile whose services run, besides those in .stager.yml.")
    ] = [],  # noqa: B006 (Typer copies it)
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain what would run from a checkout, without running it.

    Lists the services of .stager.yml or of the Compose file with their images, variables, hosts, volumes and
    health checks, what was guessed and from which line, and what is refused. Exits with 1 if it wouldn't run.
    """
    try:
        found = explanation(folder.resolve(strict=True), frozenset(profile))
    except OSError as error:
        typer.echo(f"stager: {folder} can't be read: {error.strerror}.", err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(found.data(), indent=2, ensure_ascii=False))
    else:
        for line in found.lines():
            echo(line)
    if not found.runs:
        raise typer.Exit(1)


def explanation(folder: Path, profiles: frozenset[str] = frozenset()) -> Explanation:
    """Return what would run from a folder. Raises `OSError` if it can't be read."""
    name, content = repository_file(folder)
    try:
        file = read_file(content, name, KEYS) if name else ParsedFile()
    except Fault as error:
        return Explanation(name, refusals=tuple(_refusal(name, line) for line in error.detail.splitlines()))
    declared = replace(file.declared, profiles=file.declared.profiles | profiles)
    options = Options(declared.compose or "", declared.main, declared.profiles)
    if declared.compose is not None or not declared.services:
        reading = compose.read(Tree(folder), options)
        if reading is not None:
            found = replace(Explanation.of_compose(reading), volumes=declared.volumes)
            found = _with_hooks(_completed(found, file), name, file)
            return _with_build(_announced(found, name, declared.compose), folder, file)
        if declared.compose is not None:
            missing = Refusal(Place(name), f"There is no Compose file {declared.compose or 'compose.yaml'}.")
            return Explanation(name, refusals=(missing,))
    try:
        found = Explanation.of_stack(name or "the repository", declared.stack(_main(file)))
    except Fault as error:
        return Explanation(name, refusals=(Refusal(Place(name), error.message, error.hint),))
    return _with_build(_with_hooks(found, name, file), folder, file)


def _with_hooks(found: Explanation, name: str, file: ParsedFile) -> Explanation:
    """The explanation with a refusal if a hook of the repository file can't run."""
    if not found.runs:
        return found
    try:
        check_hooks(file.manifest.hooks, found.services)
    except Fault as error:
        return replace(found, refusals=(Refusal(Place(name), error.message, error.hint),))
    return found


def _announced(found: Explanation, name: str, configured: str | None) -> Explanation:
    """The explanation; with a note if the repository file doesn't configure the Compose file."""
    if configured is not None:
        return found
    text = f"A preview uses {found.source} if `compose: true` is set here or in the server's configuration."
    return replace(found, guesses=(Note(Place(name or ".stager.yml"), text), *found.guesses))


def _completed(found: Explanation, file: ParsedFile) -> Explanation:
    """The explanation with the main service's settings in the repository file, which take precedence."""
    manifest = file.manifest
    return found.with_changed(
        found.main,
        lambda main: replace(
            main,
            image="" if file.build else main.image,
            build=None if file.build else main.build,
            command=manifest.command or main.command,
            variables={**main.variables, **manifest.variables},
            port=manifest.port or main.port,
            check=ServiceCheck(manifest.health_path) if manifest.health_path else main.check,
        ),
    )


def _main(file: ParsedFile) -> ServiceSpec:
    manifest = file.manifest
    return ServiceSpec(
        file.declared.main or MAIN_SERVICE,
        command=manifest.command or None,
        variables=manifest.variables,
        port=manifest.port,
        check=ServiceCheck(manifest.health_path) if manifest.health_path else None,
    )


def _with_build(found: Explanation, folder: Path, file: ParsedFile) -> Explanation:
    """The explanation with the build of a main service that runs the repository's own image."""
    main = next((each for each in found.services if each.name == found.main), None)
    if main is None or main.image or main.build:
        return found
    try:
        choice = BuildChooser(folder, survey(folder), file, SilentTerminal()).choose(BuildOptions())
    except Refused as error:
        refusal = Refusal(Place(found.source), error.message, error.hint)
        return replace(found, refusals=(*found.refusals, refusal))
    port = choice.dockerfile.port if choice.dockerfile else choice.detected.port if choice.detected else None
    recipe = _recipe(choice, file)
    built = found.with_changed(main.name, lambda each: replace(each, build=recipe, port=each.port or port))
    return replace(built, framework=_framework(choice), guesses=(*built.guesses, _note(choice)))


def _recipe(choice: BuildChoice, file: ParsedFile) -> Recipe:
    name = choice.dockerfile.dockerfile if choice.dockerfile else "Dockerfile"
    arguments = file.build.args if file.build else {}
    return Recipe(choice.context, name, choice.target, arguments)


def _framework(choice: BuildChoice) -> str:
    return choice.detected.framework if choice.detected and choice.dockerfile is None else ""


def _note(choice: BuildChoice) -> Note:
    path = choice.dockerfile.path if choice.dockerfile else choice.context
    return Note(Place(path), choice.why or "the image of the main service is built by it.")


def _refusal(name: str, problem: str) -> Refusal:
    """A problem of the repository file, which begins with its line."""
    found = _LINE.match(problem)
    line = int(found[1]) if found else 0
    return Refusal(Place(name, line), problem[found.end() :] if found else problem)
