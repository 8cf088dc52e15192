"""Parses a Dockerfile's exposed ports in their order, which Docker doesn't keep, and its build arguments.

The syntax is that of the Dockerfile reference, https://docs.docker.com/reference/dockerfile/: parser
directives, line continuation, here-documents, and the environment replacement of `ARG` and `ENV`. Dockerfiles
are untrusted input: expansion of variables is limited.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

LONGEST = 4096
"""Characters of a value that are read; no port needs as many."""
MOST_PORTS, LONGEST_PORT = 64, 100
"""Words of `EXPOSE` lines that are kept, and the characters of one."""
MOST_STAGES = 256
"""Maximum number of stages; Dockerfiles with more aren't read."""

_ESCAPE = re.compile(r"#\s*escape\s*=\s*(\S)\s*", re.IGNORECASE)
_DIRECTIVE = re.compile(r"#\s*[a-z]+\s*=", re.IGNORECASE)
_HERE_DOCUMENT = re.compile(r"(?<!<)<<(-?)(['\"]?)([A-Za-z_][A-Za-z0-9_]*)\2")
_TAKES_HERE_DOCUMENTS = ("RUN", "COPY", "ADD")
_FROM = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
_VARIABLE = re.compile(r"\\(\$)|\$(?:(\w+)|\{(\w+)(?:(:?[-+?])([^{}]*))?\})")
_ONE_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-[^{}]*)?\})")
_PORT = re.compile(r"(\d{1,5})(?:-\d{1,5})?(?:/(\w+))?")


@dataclass(slots=True)
class _Stage:
    """A stage: a `FROM` and the instructions after it.

    Args:
        base: the image or stage in its `FROM`.
        arguments: the values of its `ARG` lines so far.
        environment: the values of its `ENV` lines, which override arguments.
        exposed: the words of its `EXPOSE` lines, with the known variables replaced.
    """

    base: str = ""
    name: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    exposed: list[str] = field(default_factory=list)

    @property
    def variables(self) -> dict[str, str]:
        return {**self.arguments, **self.environment}


def exposed(text: str, arguments: Mapping[str, str], target: str = "") -> tuple[str, ...]:
    """The words of the `EXPOSE` lines of the target stage, in their order; without any, those of the stage
    that it is based on.

    Args:
        arguments: the values of build arguments.
        target: the stage, by its name or number; the last one if empty.

    Returns:
        Words such as `8080`, `53/udp` and `8000-8005`. Variables that only the base image can set are kept,
        such as `$PORT`.
    """
    stages = _stages(text, arguments)
    stage = _named(stages, target) if target else next(reversed(stages), None)
    while stage is not None and not stage.exposed:
        stage = _named(stages[: stages.index(stage)], stage.base)
    return tuple(stage.exposed) if stage else ()


def declared(text: str) -> frozenset[str]:
    """The names of all build arguments of the Dockerfile, in any stage."""
    lines = (rest for keyword, rest in instructions(text) if keyword == "ARG")
    return frozenset(word.partition("=")[0] for rest in lines for word in _words(rest))


def base_arguments(text: str, arguments: Mapping[str, str]) -> Mapping[str, str]:
    """The base images that a build argument chooses, with the argument's name: those of lines such as
    `FROM ${BASE}`.

    Args:
        arguments: the values of build arguments.
    """
    shared: dict[str, str] = {}
    chosen: dict[str, str] = {}
    has_stage = False
    for keyword, rest in instructions(text):
        if keyword == "ARG" and not has_stage:
            shared |= _arguments(rest, shared, arguments, {})
        elif keyword == "FROM" and (found := _FROM.match(rest)):
            has_stage = True
            if name := _ONE_VARIABLE.fullmatch(found[1]):
                chosen[_replaced(found[1], shared, keep=False)] = name[1] or name[2]
    return chosen


def first_port(words: Iterable[str], variables: Mapping[str, str]) -> int | None:
    """The first TCP port of these words; None for none.

    Args:
        variables: of the built image, for variables of the base image.
    """
    for word in " ".join(_replaced(word, variables, keep=False) for word in words).split():
        found = _PORT.fullmatch(word)
        if found and (found[2] or "tcp").lower() == "tcp":
            return int(found[1])
    return None


def _stages(text: str, given: Mapping[str, str]) -> list[_Stage]:
    first = _Stage()
    """The part before the first `FROM`: `ARG` lines only."""
    stages: list[_Stage] = []
    for keyword, rest in instructions(text):
        stage = stages[-1] if stages else first
        match keyword:
            case "FROM" if len(stages) >= MOST_STAGES:
                return []
            case "FROM":
                stages.append(_begun(rest, first, stages))
            case "ARG":
                stage.arguments |= _arguments(rest, stage.variables, given, first.arguments)
            case "ENV":
                stage.environment |= _environment(rest, stage.variables)
            case "EXPOSE":
                _expose(stage, rest)
    return stages


def _expose(stage: _Stage, rest: str) -> None:
    if len(stage.exposed) < MOST_PORTS:
        words = _replaced(rest, stage.variables).split()
        usable = (word for word in words if len(word) <= LONGEST_PORT and word.isprintable())
        stage.exposed = [*stage.exposed, *usable][:MOST_PORTS]


def _begun(rest: str, first: _Stage, before: list[_Stage]) -> _Stage:
    found = _FROM.match(rest)
    if found is None:
        return _Stage()
    base = _replaced(found[1], first.arguments)
    parent = _named(before, base) or _Stage()
    return _Stage(base, found[2] or "", dict(parent.arguments), dict(parent.environment))


def _named(stages: list[_Stage], name: str) -> _Stage | None:
    """The stage of this name or number; names are case-insensitive."""
    for stage in reversed(stages):
        if stage.name and stage.name.lower() == name.lower():
            return stage
    return stages[int(name)] if name.isdecimal() and int(name) < len(stages) else None


def _arguments(
    rest: str, known: Mapping[str, str], given: Mapping[str, str], shared: Mapping[str, str]
) -> dict[str, str]:
    """The values of an `ARG` line: given ones, else its defaults, else those from before the first `FROM`."""
    values: dict[str, str] = {}
    for word in _words(rest):
        name, has_default, default = word.partition("=")
        if name in given:
            values[name] = given[name]
        elif has_default:
            values[name] = _replaced(default, {**known, **values})
        elif name in shared:
            values[name] = shared[name]
    return values


def _environment(rest: str, known: Mapping[str, str]) -> dict[str, str]:
    """The values of an `ENV` line in both forms: `NAME=value ...` and `NAME value`."""
    name, _, value = rest.partition(" ")
    if "=" not in name:
        return {name: _replaced(value.strip(), known)}
    pairs = (word.partition("=") for word in _words(rest))
    return {name: _replaced(value, known) for name, _, value in pairs}


def _words(rest: str) -> list[str]:
    lexer = shlex.shlex(rest, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    try:
        return list(lexer)
    except ValueError:  # An unclosed quotation mark.
        return rest.split()


def _replaced(text: str, variables: Mapping[str, str], *, keep: bool = True) -> str:
    """Expand variables in a text.

    Args:
        keep: whether unknown variables are kept; otherwise they become empty, as in Docker.
    """

    def value(found: re.Match[str]) -> str:
        if found[1]:
            return found[1]
        name, operator, word = found[2] or found[3], found[4] or "", found[5] or ""
        known = variables.get(name)
        is_set = bool(known) if operator.startswith(":") else known is not None
        if operator.endswith("+"):
            return word if is_set else ""
        if operator.endswith("-") and not is_set and not keep:
            return word
        if known is None or (operator and not is_set):
            return found[0] if keep else ""
        return known

    return _VARIABLE.sub(value, text[:LONGEST])[:LONGEST]


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction as its keyword in upper case and the rest on one line."""
    lines = iter(text.removeprefix("\ufeff").splitlines())
    escape, so_far, at_top = "\\", "", True
    for line in lines:
        stripped = line.strip()
        if stripped.startswith("#") or not stripped:
            found = _ESCAPE.fullmatch(stripped) if at_top else None
            escape = found[1] if found else escape
            at_top = at_top and bool(_DIRECTIVE.match(stripped))
            continue
        at_top = False
        so_far += stripped.removesuffix(escape)
        if stripped.endswith(escape):
            so_far += " "
            continue
        keyword, _, rest = so_far.replace("\t", " ").partition(" ")
        so_far = ""
        yield keyword.upper(), rest.strip()
        if keyword.upper() in _TAKES_HERE_DOCUMENTS:
            _skip_here_documents(rest, lines)
    if so_far:
        keyword, _, rest = so_far.replace("\t", " ").partition(" ")
        yield keyword.upper(), rest.strip()


def _skip_here_documents(rest: str, lines: Iterator[str]) -> None:
    for dash, _, word in _HERE_DOCUMENT.findall(rest):
        for line in lines:
            if (line.lstrip("\t") if dash else line) == word:
                break
