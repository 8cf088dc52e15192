"""Parses the YAML of a Compose file into values with their lines.

Scalars are resolved as by Compose's own parser (https://github.com/go-yaml/yaml/tree/v3), which differs from
YAML 1.1 in PyYAML: `yes` and `22:22` are text. Files are untrusted: their size, their depth and the
number of values after the expansion of aliases are limited.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from stager.project.compose.result import Place
from stager.project.compose.value import Data, Refused, Scalar, Value

MAX_SIZE = 128 * 1024
"""Characters of a file. Parsing the worst file of this size takes some seconds."""
MAX_DEPTH = 32
MAX_VALUES = 50_000
"""Values of a file after the expansion of aliases."""
MAX_TEXT = 32 * 1024
"""Characters of a scalar; a variable of Linux has 128 KiB at most."""

TAGS = frozenset({"!reset", "!override"})
"""https://docs.docker.com/reference/compose-file/merge/"""

_STANDARD = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(_STANDARD + name for name in ("str", "int", "float", "bool", "null", "timestamp"))
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MERGE = "<<"


class _Loader(yaml.SafeLoader):
    """Composes nodes without resolving plain scalars."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own declaration)


def parse(text: str, file: str, folder: str) -> Value:
    """Parse a file; an empty one is null.

    Args:
        file: its path, for places.
        folder: the folder that relative paths in it start from.

    Raises:
        Refused: it isn't valid, or over a limit.
    """
    whole = Place(file)
    if len(text) > MAX_SIZE:
        raise Refused(whole, f"The file is larger than {MAX_SIZE >> 10} KiB.", "Split it with `include`.")
    try:
        documents = list(yaml.compose_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise Refused(Place(file, line), f"The YAML is invalid: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise Refused(whole, f"The YAML is invalid: {str(error).splitlines()[0]}.") from error
    except (RecursionError, ValueError) as error:
        raise Refused(whole, "The YAML is nested too deeply.") from error
    if len(documents) > 1:
        line = documents[1].start_mark.line + 1
        raise Refused(Place(file, line), "The file has more than one document.", "Remove the line `---`.")
    return _Converter(file, folder).value(documents[0], Place(file, 1)) if documents else Value(None, whole)


class _Converter:
    """Converts nodes to values.

    Args:
        file: the path of the nodes' file.
        folder: see `Value`.
    """

    def __init__(self, file: str, folder: str) -> None:
        self._file = file
        self._folder = folder
        self._done: dict[int, tuple[Data, int]] = {}
        """The data of each node and the number of values in it, by the node's id: an alias is one more
        reference to the same node."""
        self._open: set[int] = set()

    def value(self, node: yaml.Node, place: Place) -> Value:
        """Convert the node at a place. Raises `Refused`."""
        data, _ = self._data(node, place)
        return Value(data, place, self._folder, node.tag if node.tag in TAGS else "")

    def _data(self, node: yaml.Node, place: Place) -> tuple[Data, int]:
        if id(node) in self._done:
            return self._done[id(node)]
        if id(node) in self._open:
            raise Refused(place, "An alias refers to a value that contains it.")
        if len(self._open) >= MAX_DEPTH:
            raise Refused(place, f"The file is nested more than {MAX_DEPTH} levels deep.")
        self._open.add(id(node))
        data = self._converted(node, place)
        self._open.discard(id(node))
        size = 1 + sum(self._size(inner) for inner in _inner(node))
        if size > MAX_VALUES:
            raise Refused(place, f"Aliases expand to more than {MAX_VALUES} values.")
        self._done[id(node)] = data, size
        return data, size

    def _size(self, node: yaml.Node) -> int:
        return self._done[id(node)][1] if id(node) in self._done else 1

    def _converted(self, node: yaml.Node, place: Place) -> Data:
        if isinstance(node, yaml.MappingNode):
            self._check_tag(node, place, f"{_STANDARD}map")
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, place, f"{_STANDARD}seq")
            return [self.value(item, self._place(item)) for item in node.value]
        self._check_tag(node, place, *_PLAIN_TAGS)
        return _scalar(node, place) if isinstance(node, yaml.ScalarNode) else None

    def _check_tag(self, node: yaml.Node, place: Place, *expected: str) -> None:
        if node.tag not in expected and node.tag not in TAGS:
            raise Refused(
                place, f"The tag {node.tag.replace(_STANDARD, '!!')!r} isn't supported.", "Remove it."
            )

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Value]:
        own: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        for key, inner in node.value:
            place = self._place(key)
            if not isinstance(key, yaml.ScalarNode) or not isinstance(_scalar(key, place), str):
                raise Refused(place, "A key must be text.", "Quote it.")
            if key.value == _MERGE and key.style is None:
                merged = {**self._merged(inner, place), **merged}
            elif key.value in own:
                raise Refused(place, f"The key {key.value!r} appears twice.", "Remove one of them.")
            else:
                own[key.value] = self.value(inner, place)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, place: Place) -> dict[str, Value]:
        """The entries of the mappings of a `<<`; those of the first one take precedence."""
        value = self.value(node, place)
        found: dict[str, Value] = {}
        for each in value.data if isinstance(value.data, list) else [value]:
            if not isinstance(each.data, dict):
                raise Refused(place, "`<<` needs a mapping, or a list of mappings.")
            found = {**each.data, **found}
        return found

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._file, node.start_mark.line + 1)


def _inner(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _scalar(node: yaml.ScalarNode, place: Place) -> Scalar:
    text: str = node.value
    _check_text(text, place)
    return resolve(text) if node.style is None else text


def _check_text(text: str, place: Place) -> None:
    if "\0" in text:
        raise Refused(place, "A value has a NUL character.", "Remove it.")
    if len(text) > MAX_TEXT:
        raise Refused(place, f"A value is longer than {MAX_TEXT >> 10} KiB.")


def resolve(text: str) -> Scalar:
    """Return what a plain scalar stands for."""
    if text in _WORDS:
        return _WORDS[text]
    plain = text.replace("_", "") if text[0] in "+-0123456789." else text
    if _INTEGER.fullmatch(plain) and len(plain) < 20:
        return _integer(plain)
    if _FLOAT.fullmatch(plain):
        return float(plain)
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    is_octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    number = int(digits, 8) if is_octal else int(digits, 0)
    return -number if text.startswith("-") else number
