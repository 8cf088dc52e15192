"""Replaces `$NAME` and `${NAME...}` in a Compose file.

The forms are those of https://docs.docker.com/reference/compose-file/interpolation/. Values come from a given
mapping only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from stager.project.compose.document import MAX_TEXT
from stager.project.compose.result import Place
from stager.project.compose.value import Refused, Value

MAX_DEPTH = 8
"""Defaults within defaults."""

Lookup = Callable[[str], str | None]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Interpolation:
    """Replaces variables.

    Args:
        lookup: returns a variable's value; None if it isn't set.
        unset: returns the value of a variable that isn't set and has no default, and records that.
    """

    lookup: Lookup
    unset: Callable[[str, Place], str]

    def value(self, value: Value) -> Value:
        """Return a value with the variables in all its texts replaced; keys stay. Raises `Refused`."""
        if isinstance(value.data, dict):
            entries = {key: self.value(inner) for key, inner in value.data.items()}
            return Value(entries, value.place, value.folder, value.tag)
        if isinstance(value.data, list):
            items = [self.value(inner) for inner in value.data]
            return Value(items, value.place, value.folder, value.tag)
        if isinstance(value.data, str) and "$" in value.data:
            return Value(self.text(value.data, value.place), value.place, value.folder, value.tag)
        return value

    def text(self, text: str, place: Place, depth: int = 0) -> str:
        """Return a text with its variables replaced. Raises `Refused`."""
        if depth > MAX_DEPTH:
            raise Refused(place, f"Defaults of variables are nested more than {MAX_DEPTH} levels deep.")
        parts, at = list[str](), 0
        while (start := text.find("$", at)) >= 0:
            parts.append(text[at:start])
            part, at = self._variable(text, start, place, depth)
            parts.append(part)
        found = "".join((*parts, text[at:]))
        if len(found) > MAX_TEXT:
            raise Refused(
                place, f"A value is longer than {MAX_TEXT >> 10} KiB after its variables are replaced."
            )
        return found

    def _variable(self, text: str, start: int, place: Place, depth: int) -> tuple[str, int]:
        """What replaces the variable at `start`, and where the text continues."""
        if text.startswith("$$", start):
            return "$", start + 2
        if text.startswith("${", start):
            end = _closing(text, start + 2)
            inner = text[start + 2 : end] if end >= 0 else ""
            if (found := _NAME.match(inner)) is not None:
                return self._braced(found[0], inner[found.end() :], place, depth), end + 1
        elif (found := _NAME.match(text, start + 1)) is not None:
            return self._plain(found[0], place), found.end()
        shown = text[start : start + 20]
        raise Refused(place, f"{shown!r} isn't a variable.", "Write `$$` for a dollar sign.")

    def _plain(self, name: str, place: Place) -> str:
        value = self.lookup(name)
        return self.unset(name, place) if value is None else value

    def _braced(self, name: str, rest: str, place: Place, depth: int) -> str:
        if not rest:
            return self._plain(name, place)
        found = re.match(r":?[-+?]", rest)
        if found is None:
            raise Refused(
                place, f"'${{{name}{rest[:20]}}}' isn't a variable.", "Write `$$` for a dollar sign."
            )
        operator, word = found[0], rest[found.end() :]
        value = self.lookup(name)
        is_set = bool(value) if operator.startswith(":") else value is not None
        if operator.endswith("+"):
            return self.text(word, place, depth + 1) if is_set else ""
        if is_set:
            return value or ""
        if operator.endswith("-"):
            return self.text(word, place, depth + 1)
        return self._required(name, word, place)

    def _required(self, name: str, message: str, place: Place) -> str:
        """The value of a variable that must be set and isn't: a generated one, or the file's own error."""
        value = self.unset(name, place)
        if value:
            return value
        said = f" The file says: {message[:200].rstrip('.')}." if message else ""
        raise Refused(
            place,
            f"The variable {name} must be set.{said}",
            "Set it in the application's `env`, or commit a sample such as .env.example with a value.",
        )


def _closing(text: str, start: int) -> int:
    """The place of the brace that closes the one before `start`; -1 for none."""
    depth, at = 1, start
    while at < len(text):
        if text.startswith("${", at):
            depth += 1
            at += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    return -1
