"""Decides whether `stager up` runs the services of a Compose file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from stager.cli.up.options import BuildOptions
from stager.cli.up.terminal import Terminal, choose
from stager.domain.service import ServiceSpec
from stager.project.compose import Options, Reading, read
from stager.project.tree import Tree
from stager.settings.repository_file import ParsedFile


@dataclass(frozen=True, slots=True)
class ComposeChoice:
    """A Compose file that is run.

    Args:
        services: those that run.
        main: the main one.
        path: the file that is configured; empty for the usual names.
        web: the name of the main service, if the file leaves it open.
        others: the names of the services that it was chosen from.
    """

    reading: Reading
    services: tuple[ServiceSpec, ...]
    main: ServiceSpec
    path: str = ""
    web: str = ""
    others: tuple[str, ...] = ()

    @property
    def entry(self) -> dict[str, Any]:
        """The keys of the application's entry in the configuration."""
        return {"compose": self.path or True, **({"web": self.web} if self.web else {})}

    @property
    def notes(self) -> Iterator[str]:
        """What to tell the user, one sentence each."""
        roles = {each.name: " (job)" for each in self.services if each.is_job} | {self.main.name: " (main)"}
        names = ", ".join(f"{each.name}{roles.get(each.name, '')}" for each in self.services)
        yield f"Services of {self.reading.path}: {names}. `stager explain` shows more."
        if self.others:
            others = ", ".join(self.others)
            yield f"The main service is one of {others}: `web: NAME` in .stager.yml chooses another one."
        yield from map(str, self.reading.proposals)


def choose_compose(
    tree: Tree, usual: Reading | None, file: ParsedFile, options: BuildOptions, terminal: Terminal
) -> ComposeChoice | Reading | None:
    """Return the Compose file that is run; one that is refused as it was read; None for none.

    Args:
        tree: the repository's root.
        usual: its Compose file, as read without options.
        file: its repository file, which may declare services instead.
        options: they choose a Dockerfile instead.
    """
    declared = file.declared
    if options != BuildOptions() or declared.services:
        return None
    given = Options(declared.compose or "", declared.main, declared.profiles)
    reading = usual if given == Options() else read(tree, given)
    if reading is None or reading.stack is not None:
        return _chosen(reading, given)
    if given.web:
        return reading
    # With another main service, it may be refused for another reason as well.
    read_again = {name: _chosen(read(tree, replace(given, web=name)), given) for name in _candidates(reading)}
    found = {name: choice for name, choice in read_again.items() if choice is not None}
    if not found:
        return reading
    names = list(found)
    question = "Which service answers at the preview's URL?"
    is_asked = len(names) > 1 and terminal.is_interactive
    name = names[choose(terminal, question, names) if is_asked else 0]
    return replace(found[name], web=name, others=tuple(names))


def _chosen(reading: Reading | None, given: Options) -> ComposeChoice | None:
    if reading is None or reading.stack is None:
        return None
    return ComposeChoice(reading, reading.stack.services, reading.stack.main_service, given.path)


def _candidates(reading: Reading) -> Iterator[str]:
    """The services that may be the main one: with a port, and built if any is."""
    is_any_built = any(each.build for each in reading.services)
    for each in reading.services:
        if each.port is not None and (each.build is not None or not is_any_built):
            yield each.name
