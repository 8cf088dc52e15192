"""A YAML document as plain data, with nothing lost and nothing guessed.

YAML turns `no` into false, `1.10` into 1.1 and `0755` into 493, and lets the last of two equal keys win. Here
a plain scalar is a number or a truth value only where that would be written back the same; everything else is
text, keys always are, and a key that is given twice is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from stager.settings.loading.problems import ConfigurationError, Problem, Trail

Data = dict[str, "Data"] | list["Data"] | str | int | float | bool | None

_OWN_TAGS = "tag:yaml.org,2002:"
_MERGE = "tag:yaml.org,2002:merge"
_TRUTH = {"true": True, "false": False}
_NOTHING = frozenset({"", "~", "null"})
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""What JSON escapes in double quotes can make, and neither UTF-8, a process nor a database takes."""

MOST_VALUES = 100_000
"""Values of one document, each counted as often as it is referred to: a few lines of aliases of aliases would
otherwise fill the memory."""

MOST_TEXT = 1_000_000
"""Characters of one document's values and of what is wrong with them, counted likewise: whoever reads them is
to come to an end."""


def read(text: str, name: str) -> Data:
    """The data of a YAML document; None when it is empty.

    Args:
        name: what to call it in errors.

    Raises:
        ConfigurationError: it isn't YAML, or not YAML of the kind that a configuration is made of.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        reader = _Reader()
        data = reader.value(node, ()) if node is not None else None
    except yaml.YAMLError as error:
        raise ConfigurationError(name, [_problem_of(error, text)]) from error
    except RecursionError as error:
        raise ConfigurationError(name, [Problem("", "is nested too deeply")]) from error
    except _TooMuch as error:
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


class _TooMuch(Exception):  # noqa: N818 (caught a few lines above)
    """There is more than `MOST_VALUES` or `MOST_TEXT`; says so."""


class _Reader:
    """Turns nodes into data and collects what is wrong on the way."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._open: list[yaml.Node] = []
        self._values = 0
        self._text = 0

    def value(self, node: yaml.Node, trail: Trail) -> Data:
        self._values += 1
        if self._values > MOST_VALUES:
            raise _TooMuch(f"has more than {MOST_VALUES} values")
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
            self._refuse(trail, f"has the tag {node.tag}, which means nothing here")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, trail)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*trail, i)) for i, item in enumerate(node.value)]
        self._take(node.value)
        if _NO_TEXT.search(node.value):
            self._refuse(trail, "has a character that no text can have")
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
            elif not isinstance(key, yaml.ScalarNode) or _NO_TEXT.search(key.value):
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
                self._refuse((*trail, "<<"), "should name a mapping to merge")

    def _refuse(self, trail: Trail, message: str) -> None:
        problem = Problem.at(trail, message)
        self._take(problem.path)
        self.problems.append(problem)

    def _take(self, text: str) -> None:
        self._text += len(text)
        if self._text > MOST_TEXT:
            raise _TooMuch(f"has more than {MOST_TEXT} characters, those of its aliases among them")


def scalar(text: str) -> Data:
    """What a plain scalar means: nothing, true, false, a number, or itself."""
    if text in _NOTHING:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    for number in (int, float):
        try:
            if str(value := number(text)) == text and text not in {"nan", "inf", "-inf"}:
                return value
        except ValueError:
            continue
    return text
