"""Parses environment files, and proposes the variables of those that aren't in the repository.

The syntax is Compose's: https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from stager.domain.service import generated
from stager.project.compose.interpolation import Interpolation
from stager.project.compose.result import Place, Proposal
from stager.project.compose.value import Refused
from stager.project.tree import Tree
from stager.project.variables import SAMPLES, Variable

MAX_VARIABLES = 1000

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.\-\[\]]*)[ \t]*([=:]?)[ \t]*(.*)")
_COMMENT = re.compile(r"\s+#.*")
_ENDINGS = (".example", ".sample", ".dist", ".template", ".default", "-example", "-sample", ".tmpl")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(r"\\([nrt\"\\])")


class EnvFile:
    """The variables of an environment file, with their lines.

    Args:
        text: its content.
        file: its path, for places.
    """

    def __init__(self, text: str, file: str) -> None:
        self._lines = text.splitlines()
        self._file = file
        self._at = 0

    def variables(self, interpolation: Interpolation) -> dict[str, str]:
        """Return the variables, with those in their values replaced: by the file's own earlier ones, or as
        `interpolation` does. A name without a value is looked up.

        Raises:
            Refused: a line isn't an assignment.
        """
        found: dict[str, str] = {}
        within = replace(
            interpolation, lookup=lambda name: _first(interpolation.lookup(name), found.get(name))
        )
        for name, has_value, place in self._assignments():
            if has_value:
                found[name] = self._value(has_value[1:], place, within)
            elif (value := interpolation.lookup(name)) is not None:
                found[name] = value
            if len(found) > MAX_VARIABLES:
                raise Refused(place, f"The file has more than {MAX_VARIABLES} variables.")
        return found

    def _assignments(self) -> Iterator[tuple[str, str, Place]]:
        """The name of each line, `=` with what follows, or nothing, and the line's place."""
        while self._at < len(self._lines):
            line = self._lines[self._at].strip()
            self._at += 1
            if not line or line.startswith("#"):
                continue
            place = Place(self._file, self._at)
            found = _LINE.fullmatch(line)
            if found is None or (found[3] and not found[2] and not found[3].startswith("#")):
                raise Refused(place, "The line isn't `NAME=value`.", "Correct it, or begin it with `#`.")
            yield found[1], f"={found[3]}" if found[2] else "", place

    def _value(self, text: str, place: Place, interpolation: Interpolation) -> str:
        quote = text[:1]
        if quote not in ('"', "'"):
            plain = "" if text.startswith("#") else _COMMENT.sub("", text).rstrip()
            return interpolation.text(plain, place)
        inner = self._quoted(text[1:], quote, place)
        if quote == "'":
            return inner
        return interpolation.text(_ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), inner), place)

    def _quoted(self, text: str, quote: str, place: Place) -> str:
        """The text up to the closing quotation mark, also on a later line."""
        lines = [text]
        while (end := _closing(lines[-1], quote)) < 0:
            if self._at >= len(self._lines):
                raise Refused(place, "A quotation mark isn't closed.", "Close it, or remove it.")
            lines.append(self._lines[self._at])
            self._at += 1
        rest = lines[-1][end + 1 :].strip()
        if rest and not rest.startswith("#"):
            text = "There is text after the closing quotation mark."
            raise Refused(Place(self._file, self._at), text, "Remove it, or begin it with `#`.")
        return "\n".join((*lines[:-1], lines[-1][:end]))


def _closing(line: str, quote: str) -> int:
    at = 0
    while at < len(line):
        if line[at] == "\\" and quote == '"':
            at += 1
        elif line[at] == quote:
            return at
        at += 1
    return -1


def _first(*values: str | None) -> str | None:
    return next((value for value in values if value is not None), None)


def read_env_file(tree: Tree, path: str, place: Place, interpolation: Interpolation) -> dict[str, str]:
    """Return the variables of a file of the repository. Raises `Refused`."""
    text = tree.text(path)
    if "\0" in text:
        raise Refused(place, f"{path} isn't text.")
    return EnvFile(text, path).variables(interpolation)


def sample_of(tree: Tree, path: str) -> str:
    """Return the sample of a file that isn't in the repository, such as `.env.example`; empty for none."""
    folder, name = posixpath.split(path)
    own = [f"{name}{ending}" for ending in _ENDINGS] + [f"example{name}", f"example.{name}", f"sample{name}"]
    return tree.first(*(posixpath.join(folder, each) for each in (*own, *SAMPLES)))


def propose(
    tree: Tree, path: str, place: Place, interpolation: Interpolation
) -> tuple[Proposal, Mapping[str, str]]:
    """Return the variables for a file that isn't in the repository: those of a sample, with placeholders for
    the secrets. Raises `Refused`."""
    sample = sample_of(tree, path)
    if not sample:
        return Proposal(place, path), {}
    declared = read_env_file(tree, sample, place, interpolation)
    values: dict[str, str] = {}
    secrets: list[str] = []
    for name, value in declared.items():
        variable = Variable(name, value, sample)
        if variable.needs_secret:
            secrets.append(name)
            values[name] = generated(name)
        elif not variable.is_own_address:
            values[name] = value
    return Proposal(place, path, sample, tuple(values), tuple(secrets)), values
