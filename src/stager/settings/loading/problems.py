"""The problems of a configuration as messages, each with its path."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stager.domain.errors import Refused
from stager.domain.names import did_you_mean
from stager.settings.loading.refusals import InvalidValue
from stager.settings.values.section import Section

Trail = tuple[str | int, ...]
MAX_QUOTE = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a configuration.

    Args:
        path: such as `images.shop.port`; empty for the file as a whole.
        message: such as `should be an integer, not "80x"`.
        line: the line in the file, from 1; 0 if it is unknown.
    """

    path: str
    message: str
    line: int = 0

    @classmethod
    def at(cls, trail: Trail, message: str) -> Problem:
        return cls(path_of(trail), message)

    def __str__(self) -> str:
        line = f"line {self.line}: " if self.line else ""
        return f"{line}{self.path}: {self.message}" if self.path else f"{line}{self.message}"


def path_of(trail: Trail) -> str:
    """Format a path: `images.shop.port`, `users[1]`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in trail]
    return "".join(parts).removeprefix(".")


def _key(part: str) -> str:
    part = part if len(part) <= MAX_QUOTE else part[:MAX_QUOTE] + "…"
    return part if re.fullmatch(r"[\w/-]+", part) else json.dumps(part, ensure_ascii=False)


class ConfigurationError(Refused):
    """An invalid configuration.

    Args:
        name: the file's name.
        problems: all problems, at least one.
    """

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{name}: {count}", reason="configuration-invalid", detail=lines)
        self.name = name
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return f"{self.message}\n{self.detail}"


def problems_of(error: ValidationError, model: type[Section], written: object) -> Iterator[Problem]:
    """Return the problems that pydantic found.

    Args:
        model: the model that the data was validated with.
        written: the data in the file, before references were expanded. Only this is quoted, because the value
            of a variable or a file may be a secret.
    """
    for details in error.errors(include_url=False):
        trail = details["loc"]
        yield Problem.at(_trail_in(written, trail), _message(details, model, _value_at(written, trail)))


def _trail_in(written: object, trail: Trail) -> Trail:
    """The path without the indices of lists that were written as a single value."""
    kept: list[str | int] = []
    for part in trail:
        if isinstance(part, str) or isinstance(written, list):
            kept.append(part)
            written = _value_at(written, (part,))
    return tuple(kept)


_MISSING = object()


def _value_at(written: object, trail: Trail) -> object:
    for part in trail:
        if isinstance(written, dict):
            written = written.get(part, _MISSING)
        elif isinstance(written, list):
            written = written[part] if isinstance(part, int) else _MISSING
    return written


_SHAPES: Mapping[str, str] = {
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}

_SHOULD_BE: Mapping[str, str] = {
    "int": "should be an integer",
    "float": "should be a number",
    "bool": "should be true or false",
    "string": "should be text",
    "path": "should be a path",
    "literal": "should be {expected}",
    "greater_than_equal": "should be {ge} at least",
    "greater_than": "should be more than {gt}",
    "less_than_equal": "should be {le} at most",
    "finite": "should be a finite number",
}
"""Messages by prefix of pydantic's error type; the longest prefix counts."""


def _message(details: ErrorDetails, model: type[Section], written: object) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return _unknown_key(details["loc"], model)
    if kind == "refused":
        return str(context["message"])
    if kind == "value_error":
        error = context["error"]
        return f"{error}{_not(written)}" if isinstance(error, InvalidValue) else str(error)
    if kind in _SHAPES:
        return f"should be {_SHAPES[kind]}{_not_shape(written)}{_right_form(details['loc'], model)}"
    beginning = max((b for b in _SHOULD_BE if kind.startswith(b)), key=len, default="")
    wording = _SHOULD_BE.get(beginning, details["msg"]).format(**context).replace("'", '"')
    example = _example_at(model, details["loc"]) if kind.startswith(("int", "float")) else ""
    return wording + (f" such as {example}" if example else "") + _not(written)


def _not(written: object) -> str:
    if written is _MISSING:
        return ""
    if isinstance(written, dict | list):
        return _not_shape(written)
    if isinstance(written, str) and (written.startswith("file:") or "${" in written):
        return f", not the value of {written}"
    quoted = json.dumps(written, ensure_ascii=False)
    return f", not {quoted}" if len(quoted) <= MAX_QUOTE else f", not {quoted[:MAX_QUOTE]}…"


def _not_shape(written: object) -> str:
    # Never quoted: text in place of a section may contain its password.
    shapes = {dict: "a mapping", list: "a list", str: "text", int: "a number", float: "a number"}
    shape = shapes.get(type(written))
    return f", not {shape}" if shape else ""


def _unknown_key(trail: Trail, model: type[Section]) -> str:
    section, key = _section_at(model, trail[:-1]), str(trail[-1])
    if key in section.misplaced:
        return section.misplaced[key]
    hint = did_you_mean(key, section.model_fields) or section.unknown_key_hint
    return f"unknown key; {hint}" if hint else "unknown key"


def _section_at(model: type[Section], trail: Trail) -> type[Section]:
    """The section at this path of the model."""
    annotation = _annotation_at(model, trail)
    assert is_section(annotation)  # noqa: S101 (only sections forbid unknown keys)
    return annotation


def _annotation_at(model: type[Section], trail: Trail) -> Any:
    annotation: Any = model
    for part in trail:
        if is_section(annotation):
            annotation = bare(annotation.model_fields[str(part)].annotation)
        else:
            annotation = bare(next((a for a in reversed(get_args(annotation)) if a is not ...), Any))
    return annotation


def _right_form(trail: Trail, model: type[Section]) -> str:
    """What to write instead of a value of the wrong shape."""
    annotation, key = _annotation_at(model, trail), str(trail[-1]) if trail else ""
    example = _example_at(model, trail)
    if not example and is_section(annotation):
        example = annotation.form or f"{{{next(iter(annotation.model_fields))}: ...}}"
    if not example:
        example = "[first, second]" if get_origin(annotation) is tuple else "{NAME: value}"
    return f"; write `{_key(key)}: {example}`" if key else f"; write `{example}`"


def _example_at(model: type[Section], trail: Trail) -> str:
    """The example of the setting at this path, as written in YAML; empty if it has none."""
    section = _annotation_at(model, trail[:-1])
    found = section.model_fields.get(str(trail[-1])) if trail and is_section(section) else None
    return str(found.examples[0]) if found and found.examples else ""


def is_section(annotation: object) -> TypeGuard[type[Section]]:
    """Whether an annotation is a section."""
    return isinstance(annotation, type) and issubclass(annotation, Section)


def bare(annotation: Any) -> Any:
    """Strip `Annotated` and `| None` from an annotation."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return bare(next(a for a in get_args(annotation) if a is not type(None)))
    return annotation
