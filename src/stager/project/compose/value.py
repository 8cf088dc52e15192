"""The values of a Compose file, each with the line that it is from."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from stager.project.compose.result import Place

Scalar: TypeAlias = str | int | float | bool | None
Data: TypeAlias = dict[str, "Value"] | list["Value"] | Scalar


class Refused(Exception):  # noqa: N818 (the project's word)
    """A part of the file can't be run.

    Args:
        hint: what to do.
    """

    def __init__(self, place: Place, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.place = place
        self.text = text
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Value:
    """A value.

    Args:
        place: the line of its key, or of the value itself in a list.
        folder: the folder that relative paths in it start from.
        tag: `!reset` or `!override`; empty for none.
    """

    data: Data
    place: Place
    folder: str = "."
    tag: str = ""

    def refuse(self, text: str, hint: str = "") -> Refused:
        """Return the error for this value."""
        return Refused(self.place, text, hint)

    def with_data(self, data: Data) -> Value:
        """Return this value with other data and without its tag."""
        return Value(data, self.place, self.folder)

    def mapping(self, what: str) -> dict[str, Value]:
        """Return the mapping; nothing for null. Raises `Refused` for anything else."""
        if self.data is None:
            return {}
        if not isinstance(self.data, dict):
            raise self.refuse(f"{what} must be a mapping.")
        return self.data

    def items(self, what: str) -> list[Value]:
        """Return the items of the list, or of the single value; none for null. Raises `Refused`."""
        if isinstance(self.data, list):
            return self.data
        if isinstance(self.data, dict):
            raise self.refuse(f"{what} must be a list.")
        return [] if self.data is None else [self]

    def text(self, what: str) -> str:
        """Return a scalar as text, as Compose writes it; empty for null. Raises `Refused`."""
        if isinstance(self.data, dict | list):
            raise self.refuse(f"{what} must be a text.")
        return scalar_text(self.data)

    def flag(self, what: str) -> bool:
        """Return true or false; false for null. Raises `Refused` for anything else."""
        if self.data is None or isinstance(self.data, bool):
            return bool(self.data)
        word = str(self.data).lower() if isinstance(self.data, str) else ""
        if word not in ("true", "false"):
            raise self.refuse(f"{what} must be true or false.")
        return word == "true"

    def pairs(self, what: str) -> Iterator[tuple[str, Value]]:
        """The entries of a mapping, or of a list of `NAME=value`; a name alone has null. Raises `Refused`."""
        if isinstance(self.data, dict):
            yield from self.data.items()
            return
        for item in self.items(what):
            name, has_value, value = item.text(f"An entry of {what}").partition("=")
            yield name, item.with_data(value if has_value else None)

    def path(self, what: str) -> str:
        """Return a path relative to the repository's root.

        Raises:
            Refused: it is absolute, or leads out of the repository.
        """
        given = self.text(what)
        if given.startswith(("/", "~")) or "\\" in given or ":" in given:
            raise self.refuse(f"{what} {given!r} isn't a path in the repository.", "Use a relative path.")
        found = posixpath.normpath(posixpath.join(self.folder, given))
        if found == ".." or found.startswith("../") or not found.isprintable():
            raise self.refuse(
                f"{what} {given!r} leads out of the repository.", "Move it into the repository."
            )
        return found


def scalar_text(data: Scalar) -> str:
    """Return a scalar as Compose writes it in a variable: numbers as Go prints them, not as in the file."""
    if data is None:
        return ""
    if isinstance(data, bool):
        return str(data).lower()
    return _float_text(data) if isinstance(data, float) else str(data)


def _float_text(number: float) -> str:
    """A number in Go's `%v` format: the shortest form, with an exponent below 1e-4 and from 1e21 on."""
    if not math.isfinite(number):
        return {"inf": "+Inf", "-inf": "-Inf"}.get(str(number), "NaN")
    if number == int(number) and abs(number) < 1e21:
        return str(int(number))
    return repr(number)
