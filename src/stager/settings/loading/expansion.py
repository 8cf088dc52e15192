"""Expands references: `${VARIABLE}` from the environment, `file:/path` from the disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from stager.settings.loading.document import Data
from stager.settings.loading.problems import Problem, Trail
from stager.settings.values.secret import ReferencedText

FILE = "file:"
SYNTAX = "has a ${ that isn't ${NAME} or ${NAME:-default}; write $${ for a literal ${"
_REFERENCE = re.compile(r"(?P<escape>\$)?\$\{(?:(?P<name>[A-Za-z_]\w*)(?P<default>:-[^}]*)?\})?", re.ASCII)


class Expansion:
    """Expands variables and files, and collects the problems.

    `${NAME}` is the variable's value, `${NAME:-text}` has a default for a variable that is unset or empty,
    `$${` is a literal `${`. The value of a variable isn't expanded again.

    Args:
        environ: the environment variables.
        folder: the folder that paths are relative to.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self.problems: list[Problem] = []
        self._environ = environ
        self._folder = folder

    def expand(self, data: Data, trail: Trail = ()) -> Data:
        """Return the data with references expanded, except invalid ones."""
        if isinstance(data, dict):
            return {key: self.expand(value, (*trail, key)) for key, value in data.items()}
        if isinstance(data, list):
            return [self.expand(value, (*trail, i)) for i, value in enumerate(data)]
        return self._text(data, trail) if isinstance(data, str) else data

    def _text(self, text: str, trail: Trail) -> str:
        try:
            expanded = _REFERENCE.sub(self._variable, text)
            expanded = self._file(expanded.removeprefix(FILE)) if text.startswith(FILE) else expanded
            return ReferencedText(expanded) if expanded != text else text
        except _InvalidReference as error:
            self.problems.append(Problem.at(trail, str(error)))
            return text

    def _variable(self, match: re.Match[str]) -> str:
        if match["escape"]:
            return match[0].removeprefix("$")
        if match["name"] is None:
            raise _InvalidReference(SYNTAX)
        value = self._environ.get(match["name"], "")
        if match["default"] is not None:
            value = value or match["default"].removeprefix(":-")
        elif match["name"] not in self._environ:
            name = match["name"]
            raise _InvalidReference(
                f"the environment variable {name} isn't set; set it, or allow it with ${{{name}:-}}"
            )
        return value

    def _file(self, name: str) -> str:
        try:
            text = (self._folder / name).read_text("utf-8")
        except OSError as error:
            raise _InvalidReference(f"{name} can't be read: {error.strerror}") from error
        except ValueError as error:
            raise _InvalidReference(f"{name} isn't text in UTF-8") from error
        return text.removesuffix("\n").removesuffix("\r")


class _InvalidReference(Exception):  # noqa: N818 (caught a few lines above)
    """Why a reference can't be expanded."""
