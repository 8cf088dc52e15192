"""What the last stage of a Dockerfile says about how its image runs, before it is built."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from stager.project.dockerfile import instructions

_FROM = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^}]*))?\})")
_SECRET = re.compile(r"--mount=(\S*\btype=secret\b\S*)")
_PORT = re.compile(
    r"(?:--port[= ]|-p[= ]?|--bind[= ]\S*:|-b[= ]?\S*:|(?:0\.0\.0\.0|\[::\]|\s):|http\.server )(\d{2,5})\b"
)
_READS_PORT = re.compile(r"\$\{?PORT\b")


@dataclass(frozen=True, slots=True)
class LastStage:
    """The last stage.

    Args:
        base: the image that it is based on, by way of other stages; empty if it is unknown.
        command: its `ENTRYPOINT` and `CMD` as one line; empty without them.
        variables: its `ENV` lines.
        secrets: the ids of build secrets, in any stage.
    """

    base: str
    command: str
    variables: Mapping[str, str]
    secrets: frozenset[str]

    @property
    def port(self) -> int | None:
        """The port that its command or `ENV PORT` names; None if neither does."""
        given = self.variables.get("PORT", "")
        return int(given) if _is_port(given) else port_in(self.command)


def read_last_stage(text: str, arguments: Mapping[str, str]) -> LastStage:
    """Read a Dockerfile's text.

    Args:
        arguments: the values of build arguments.
    """
    values: dict[str, str] = {}
    bases: dict[str, str] = {}
    base, entrypoint, command, variables = "", "", "", dict[str, str]()
    for keyword, rest in instructions(text):
        if keyword == "ARG" and not base:
            name, _, default = rest.partition("=")
            values[name.strip()] = arguments.get(name.strip(), default.strip().strip("\"'"))
        elif keyword == "FROM" and (found := _FROM.match(rest)):
            base = _replaced(found[1], values)
            base = bases.get(base.lower(), base)
            bases[(found[2] or str(len(bases))).lower()] = base
            entrypoint, command, variables = "", "", {}
        elif keyword == "ENTRYPOINT":
            entrypoint, command = _line(rest), ""
        elif keyword == "CMD":
            command = _line(rest)
        elif keyword == "ENV":
            variables |= _variables(rest)
    return LastStage(base, f"{entrypoint} {command}".strip(), variables, _secrets(text))


def port_in(command: str) -> int | None:
    """Return the port that a line of shell names, as with `--port 8000`; None for none."""
    found = _PORT.search(command)
    return int(found[1]) if found and _is_port(found[1]) else None


def reads_port(command: str) -> bool:
    """Whether a line of shell uses `$PORT`."""
    return _READS_PORT.search(command) is not None


def _is_port(text: str) -> bool:
    return text.isdecimal() and 0 < int(text[:6]) < 1 << 16


def _line(rest: str) -> str:
    """A command in either form as one line."""
    if rest.startswith("["):
        try:
            words = json.loads(rest)
        except (ValueError, RecursionError):
            return rest
        return " ".join(str(word) for word in words)
    return rest


def _variables(rest: str) -> dict[str, str]:
    if "=" not in rest.partition(" ")[0]:
        name, _, value = rest.partition(" ")
        return {name: value.strip()}
    try:
        words = shlex.split(rest)
    except ValueError:
        return {}
    pairs = (word.partition("=") for word in words)
    return {name: value for name, _, value in pairs}


def _secrets(text: str) -> frozenset[str]:
    runs = (rest for keyword, rest in instructions(text) if keyword == "RUN")
    options = (option.split(",") for rest in runs for option in _SECRET.findall(rest))
    return frozenset(
        word.removeprefix("id=") for words in options for word in words if word.startswith("id=")
    )


def _replaced(text: str, values: Mapping[str, str]) -> str:
    """The name of an image with build arguments replaced; empty if one is unknown."""
    names = [(found[1] or found[2], found[3] or "") for found in _VARIABLE.finditer(text)]
    if not all(values.get(name) or default for name, default in names):
        return ""
    return _VARIABLE.sub(lambda found: values.get(found[1] or found[2]) or found[3] or "", text)
