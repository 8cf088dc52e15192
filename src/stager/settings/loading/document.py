"""Parses YAML into plain data without lossy conversions.

YAML turns `no` into false, `1.10` into 1.1 and `0755` into 493, and the last of two equal keys wins. Here a
plain scalar is a number or a boolean only if it would be written back the same. Everything else is text, keys
included, and a duplicate key is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from stager.settings.loading.problems import ConfigurationError, Problem, Trail

Data = dict[str, "Data"] | list["Data"] | str | int | float | bool | None

_OWN_TAGS = "tag:yaml.org,2002:"
_MERGE = "tag:yaml.org,2002:merge"
_BOOLEANS = {"true": True, "false": False}
_NULL = frozenset({"", "~", "null"})
_INVALID_CHARACTERS = re.compile("[\0\ud800-\udfff]")
"""Characters that escapes in double quotes can produce and that UTF-8, processes and databases reject."""

MAX_VALUES = 100_000
"""Values of one document, aliases expanded: a few lines of nested aliases would otherwise exhaust the
memory."""

MAX_TEXT = 1_000_000
"""Characters of one document's values and problems, aliases expanded, so that processing ends."""


def read(text: str, name: str) -> Data:
    """Parse a YAML document; None if it is empty.

    Args:
        name: the document's name in errors.

    Raises:
        ConfigurationError: it isn't YAML, or uses unsupported features of YAML.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        reader = _Reader()
        data = reader.value(node, ()) if node is not None else None
    except yaml.YAMLError as error:
        raise ConfigurationError(name, [_problem_of(error, text)]) from error
    except RecursionError as error:
        raise ConfigurationError(name, [Problem("", "is nested too deeply")]) from error
    except _TooLarge as error:
        raise ConfigurationError(name, [Problem("", str(error))]) from error
    if reader.problems:
        raise ConfigurationError(name, reader.problems)
    return data


def _problem_of(error: yaml.YAMLError, text: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "isn't YAML"
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return Problem("", f"{where}{what}{_hint(text, what)}")


def _hint(text: str, what: str) -> str:
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines) if line.strip() and line.lstrip()[0] != "#"), None)
    if first is not None and re.match(r" +\S+:", lines[first]):
        return f"; line {first + 1}: `{lines[first].rstrip()}` is indented; remove the leading space"
    return "; indent with spaces, not with tabs" if r"'\t'" in what else ""


class _TooLarge(Exception):  # noqa: N818 (caught a few lines above)
    """The document exceeds `MAX_VALUES` or `MAX_TEXT`."""


class _Reader:
    """Converts nodes to data and collects the problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._open: list[yaml.Node] = []
        self._values = 0
        self._text = 0

    def value(self, node: yaml.Node, trail: Trail) -> Data:
        self._values += 1
        if self._values > MAX_VALUES:
            raise _TooLarge(f"has more than {MAX_VALUES} values")
        if any(node is outer for outer in self._open):
            self._refuse(trail, "contains itself")
            return None
        self._open.append(node)
        try:
            return self._value(node, trail)
        finally:
            self._open.pop()

    def _value(self, node: yaml.Node, trail: Trail) -> Data:
        if not node.tag.startswith(_OWN_TAGS):
            self._refuse(trail, f"has the tag {node.tag}, which isn't supported")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, trail)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*trail, i)) for i, item in enumerate(node.value)]
        self._take(node.value)
        if _INVALID_CHARACTERS.search(node.value):
            self._refuse(trail, "has an invalid character")
            return None
        is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return scalar(node.value) if is_plain else str(node.value)

    def _mapping(self, node: yaml.MappingNode, trail: Trail) -> dict[str, Data]:
        own: dict[str, Data] = {}
        merged: dict[str, Data] = {}
        for key, item in node.value:
            if key.tag == _MERGE:
                for data in self._merged(item, trail):
                    merged = {**data, **merged}
            elif not isinstance(key, yaml.ScalarNode) or _INVALID_CHARACTERS.search(key.value):
                self._refuse(trail, f"has a key that isn't text, at line {key.start_mark.line + 1}")
            elif key.value in own:
                self._refuse((*trail, key.value), f"is given twice, again at line {key.start_mark.line + 1}")
            else:
                self._take(key.value)
                own[key.value] = self.value(item, (*trail, key.value))
        return {**merged, **own}

    def _merged(self, node: yaml.Node, trail: Trail) -> Iterator[dict[str, Data]]:
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            data = self.value(source, trail)
            if isinstance(data, dict):
                yield data
            else:
                self._refuse((*trail, "<<"), "should refer to a mapping to merge")

    def _refuse(self, trail: Trail, message: str) -> None:
        problem = Problem.at(trail, message)
        self._take(problem.path)
        self.problems.append(problem)

    def _take(self, text: str) -> None:
        self._text += len(text)
        if self._text > MAX_TEXT:
            raise _TooLarge(f"has more than {MAX_TEXT} characters, with aliases expanded")


def scalar(text: str) -> Data:
    """Convert a plain scalar to None, a boolean or a number, or return it as it is."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    for number in (int, float):
        try:
            if str(value := number(text)) == text and text not in {"nan", "inf", "-inf"}:
                return value
        except ValueError:
            continue
    return text
