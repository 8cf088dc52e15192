"""Values that stand elsewhere: `${VARIABLE}` in the environment, `file:/path` on the disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from stager.settings.loading.document import Data
from stager.settings.loading.problems import Problem, Trail
from stager.settings.values.secret import FromElsewhere

FILE = "file:"
_REFERENCE = re.compile(r"(?P<escape>\$)?\$\{(?:(?P<name>[A-Za-z_]\w*)(?P<default>:-[^}]*)?\})?", re.ASCII)


class Expansion:
    """Fills in variables and files, and collects what can't be filled in.

    `${NAME}` is the variable's value, `${NAME:-text}` has a text for when it is unset or empty, and `$${` is
    a plain `${`. What a variable holds is taken as it is, never looked at again.

    Args:
        environ: the environment variables.
        folder: what relative paths start from.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self.problems: list[Problem] = []
        self._environ = environ
        self._folder = folder

    def fill(self, data: Data, trail: Trail = ()) -> Data:
        """The data with everything filled in; what can't be is left as it is."""
        if isinstance(data, dict):
            return {key: self.fill(value, (*trail, key)) for key, value in data.items()}
        if isinstance(data, list):
            return [self.fill(value, (*trail, i)) for i, value in enumerate(data)]
        return self._text(data, trail) if isinstance(data, str) else data

    def _text(self, text: str, trail: Trail) -> str:
        try:
            filled = _REFERENCE.sub(self._variable, text)
            filled = self._file(filled.removeprefix(FILE)) if text.startswith(FILE) else filled
            return FromElsewhere(filled) if filled != text else text
        except _Unfillable as why:
            self.problems.append(Problem.at(trail, str(why)))
            return text

    def _variable(self, match: re.Match[str]) -> str:
        if match["escape"]:
            return match[0].removeprefix("$")
        if match["name"] is None:
            raise _Unfillable("has a ${ that isn't ${NAME} or ${NAME:-default}; write $${ for a plain ${")
        value = self._environ.get(match["name"], "")
        if match["default"] is not None:
            value = value or match["default"].removeprefix(":-")
        elif match["name"] not in self._environ:
            raise _Unfillable(f"the environment variable {match['name']} isn't set")
        return value

    def _file(self, name: str) -> str:
        try:
            text = (self._folder / name).read_text("utf-8")
        except OSError as error:
            raise _Unfillable(f"{name} can't be read: {error.strerror}") from error
        except ValueError as error:
            raise _Unfillable(f"{name} isn't text in UTF-8") from error
        return text.removesuffix("\n").removesuffix("\r")


class _Unfillable(Exception):  # noqa: N818 (caught a few lines above)
    """Why a text can't be filled in."""
