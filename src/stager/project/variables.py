"""The environment variables that a repository declares: in `app.json`, and in a sample of `.env`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stager.project.tree import Tree

SAMPLES = (".env.example", ".env.sample", ".env.dist", ".env.template", "env.example", "example.env")
"""The names of a sample, most usual first; the first that exists is read."""

MAX_VARIABLES = 500

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_SECRET = re.compile(r"secret|password|passwd|token|api_?key|private_?key|salt|app_key", re.IGNORECASE)
_PLACEHOLDER = re.compile(
    r"|<.*>|\.\.\.|x+|\*+|null|none|todo|secret|password|.*(change|replace|your|insert|generate|example).*",
    re.IGNORECASE,
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ADDRESSES = frozenset({"HOST", "HOSTNAME", "BIND", "BIND_ADDRESS", "LISTEN_ADDRESS", "SERVER_HOST"})
_QUOTED = re.compile(r"""(["'])(.*)\1(?:\s+#.*)?""")


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that a repository declares.

    Args:
        value: the declared value; empty for none.
        source: the file that declares it.
        required: whether the application needs a value. In a sample: the variable has none.
        generated: whether a random value is requested (`generator: secret` of `app.json`).
        description: what the file says about it.
    """

    name: str
    value: str
    source: str
    required: bool = False
    generated: bool = False
    description: str = ""

    @property
    def is_secret(self) -> bool:
        """Whether a random value is requested, or the name is that of a secret."""
        return self.generated or _SECRET.search(self.name) is not None

    @property
    def needs_secret(self) -> bool:
        """Whether it gets a random value: one is asked for, or it is a secret with a placeholder."""
        return self.generated or (self.is_secret and _PLACEHOLDER.fullmatch(self.value) is not None)

    @property
    def is_own_address(self) -> bool:
        """Whether it has the application listen on its loopback interface, where nothing outside of its
        container reaches it."""
        return self.name in _ADDRESSES and self.value in _LOOPBACK


def read_variables(tree: Tree) -> tuple[Variable, ...]:
    """Return the declared variables; `app.json` precedes a sample for the same name."""
    found = {variable.name: variable for variable in _of_sample(tree)}
    found |= {variable.name: variable for variable in _of_app_json(tree)}
    return tuple(found.values())[:MAX_VARIABLES]


def parse_env(text: str) -> dict[str, str]:
    """Parse a `.env` file: `NAME=value` lines, with an optional `export`, quotes and `#` comments. Values
    aren't expanded."""
    assignments = (_ASSIGNMENT.fullmatch(line.strip()) for line in text.splitlines())
    return {match[1]: _value(match[2]) for match in assignments if match}


def _value(text: str) -> str:
    quoted = _QUOTED.fullmatch(text)
    if quoted is None:
        return "" if text.startswith("#") else text.partition(" #")[0].partition("\t#")[0].strip()
    if quoted[1] == "'":
        return quoted[2]
    return quoted[2].replace("\\n", "\n").replace('\\"', '"')


def _of_sample(tree: Tree) -> Iterator[Variable]:
    name = tree.first(*SAMPLES)
    if name:
        for key, value in parse_env(tree.text(name)).items():
            yield Variable(key, value, name, required=not value)


def _of_app_json(tree: Tree) -> Iterator[Variable]:
    """The variables of `app.json` (https://devcenter.heroku.com/articles/app-json-schema#env)."""
    declared = tree.json("app.json").get("env")
    for name, entry in (declared if isinstance(declared, dict) else {}).items():
        if _NAME.fullmatch(name):
            yield _entry(name, entry)


def _entry(name: str, entry: Any) -> Variable:
    if not isinstance(entry, dict):
        return Variable(name, _as_text(entry), "app.json")
    value = _as_text(entry.get("value", ""))
    generated = entry.get("generator") == "secret"
    required = entry.get("required", True) is not False and not value and not generated
    return Variable(name, value, "app.json", required, generated, _as_text(entry.get("description", "")))


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else ""
