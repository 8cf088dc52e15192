"""What the reader of Compose files returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stager.domain.service import ServiceSpec, Stack


@dataclass(frozen=True, slots=True)
class Options:
    """What a Compose file is read with.

    Args:
        path: the file, relative to the repository's root; empty for the first of `NAMES` and its override.
        web: the main service; empty to guess it.
        profiles: the profiles whose services run.
        variables: values for `${NAME}`, and for variables that the file lists without a value. Nothing else
            comes from outside of the repository.
    """

    path: str = ""
    web: str = ""
    profiles: frozenset[str] = frozenset()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file.

    Args:
        file: relative to the repository's root.
        line: from 1; 0 for the file as a whole.
    """

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence on a line of a file."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file isn't run.

    Args:
        hint: what to do.
    """

    place: Place
    text: str
    hint: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{self.place}: {self.text}", self.hint)))


@dataclass(frozen=True, slots=True)
class Proposal:
    """Variables for an environment file that isn't in the repository.

    Args:
        file: the missing file.
        sample: the sample beside it; empty if there is none, and no variables either.
        variables: the names of those that are set.
        generated: the names of those that get a generated value.
    """

    place: Place
    file: str
    sample: str = ""
    variables: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place.line else ""
        if not self.sample:
            return (
                f"{place}Neither {self.file} nor a sample of it is in the repository; it sets no variables."
            )
        secrets = f" Generated: {', '.join(self.generated)}." if self.generated else ""
        text = f"{self.file} isn't in the repository; its variables are those of {self.sample}."
        return f"{place}{text}{secrets}"


@dataclass(frozen=True, slots=True)
class Reading:
    """A Compose file, read.

    Args:
        path: the file.
        files: all files that it consists of, `path` first.
        stack: None if there are refusals.
        services: those that run, in the file's order; with refusals, those that can be read.
        guesses: what the file leaves open, and how it was decided.
    """

    path: str
    files: tuple[str, ...] = ()
    stack: Stack | None = None
    services: tuple[ServiceSpec, ...] = ()
    ignored: tuple[Note, ...] = ()
    guesses: tuple[Note, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    refusals: tuple[Refusal, ...] = ()
