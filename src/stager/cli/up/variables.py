"""The environment variables of the application of `stager up`: given ones, and for those that the repository
declares, proposed and generated ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stager.cli.up.options import Given
from stager.cli.up.terminal import Terminal, listed
from stager.domain.errors import Refused
from stager.project.variables import Variable, parse_env

ENV_FILE = ".env"
KEY_SIZE = 32
MAX_ENV_FILE = 1 << 20
"""Bytes of a file with variables."""

SHORTEST_CONFIDENTIAL = 4

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SERVERS_OWN = frozenset({"PORT"})
"""Variables that Stager sets."""


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables.

    Args:
        values: by name.
        notes: what to tell the user, one sentence each. Without values.
        build_arguments: those of `--build-arg`, by name. They aren't secret: they are stored in the image.
    """

    values: Mapping[str, str]
    notes: tuple[str, ...]
    build_arguments: Mapping[str, str] = field(default_factory=dict)

    def confidential(self, declared: Iterable[Variable]) -> frozenset[str]:
        """Return the names of those whose value isn't in the repository anyway."""
        public = {(each.name, each.value) for each in declared}
        return frozenset(
            name
            for name, value in self.values.items()
            if (name, value) not in public and len(value) >= SHORTEST_CONFIDENTIAL
        )


def given_variables(given: Given, folder: Path, terminal: Terminal, *, is_tracked: bool) -> Variables:
    """Read the options. Without `--env-file`, offer the folder's `.env`.

    Args:
        is_tracked: whether `.env` is in the folder's own repository, and so part of the application anyway.

    Raises:
        Refused: `variable-invalid`: an option or a file is invalid. The message has no value.
    """
    files, notes = list(given.files), []
    offered = folder / ENV_FILE
    if not files and not is_tracked and offered.is_file():
        if not terminal.is_interactive:
            notes.append("The file .env isn't used. Add --env-file .env to set its variables.")
        elif terminal.confirm("Set the variables of .env? The file isn't committed."):
            files.append(offered)
    values: dict[str, str] = {}
    for path in files:
        values |= _of_file(path)
    values |= dict(_assignment("--env", each) for each in given.assignments)
    build_arguments = dict(_assignment("--build-arg", each) for each in given.build_arguments)
    return Variables(values, tuple(notes), build_arguments)


def completed(
    given: Variables,
    declared: Sequence[Variable],
    missing_services: Iterable[str],
    generate: Callable[[str], str],
    terminal: Terminal,
) -> Variables:
    """Add values for the variables that the repository declares and that aren't given.

    Args:
        missing_services: the names of Compose services that aren't started; a value that refers to one of
            them isn't proposed.
        generate: returns the secret of a variable.
    """
    proposal = _Proposal(tuple(missing_services), generate, terminal)
    for variable in declared:
        if variable.name not in given.values and variable.name not in _SERVERS_OWN:
            proposal.add(variable)
    values = {**proposal.values, **given.values}
    return Variables(values, (*given.notes, *proposal.notes), given.build_arguments)


class _Proposal:
    """Values for declared variables."""

    def __init__(
        self, missing_services: tuple[str, ...], generate: Callable[[str], str], terminal: Terminal
    ) -> None:
        self.values: dict[str, str] = {}
        self._generate = generate
        self._terminal = terminal
        self._elsewhere = [re.compile(rf"(^|//|@|,){re.escape(name)}($|[:/,])") for name in missing_services]
        self._generated: list[str] = []
        self._proposed: dict[str, list[str]] = {}
        self._skipped: list[str] = []
        self._missing: list[str] = []

    def add(self, variable: Variable) -> None:
        """Decide the variable's value."""
        name, value = variable.name, variable.value
        if variable.needs_secret:
            self.values[name] = self._generate(name)
            self._generated.append(name)
        elif any(pattern.search(value) for pattern in self._elsewhere):
            self._skipped.append(name)
        elif variable.is_own_address:
            pass
        elif value:
            self.values[name] = value
            self._proposed.setdefault(variable.source, []).append(name)
        elif variable.required:
            self._ask(variable)

    def _ask(self, variable: Variable) -> None:
        described = f" ({variable.description})" if variable.description else ""
        question = f"Value of {variable.name}{described}, Enter for none"
        answer = self._terminal.ask(question) if self._terminal.is_interactive else ""
        if answer:
            self.values[variable.name] = answer
        else:
            self._missing.append(variable.name)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided, one sentence each."""
        taken = (f"Set as in {source}: {listed(names)}." for source, names in self._proposed.items())
        others = (
            (self._generated, "Generated: {}. --env or --env-file sets others."),
            (self._skipped, "Not set, because their services aren't started: {}. Set them with --env."),
            (self._missing, "Without a value: {}. Set them with --env NAME=VALUE or --env-file."),
        )
        return (*taken, *(text.format(listed(names)) for names, text in others if names))


class SecretGenerator:
    """Derives secrets from a key, so that a variable gets the same one each time.

    Args:
        path: the file with the key, created with mode 0600.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, name: str) -> str:
        """Return the secret of a variable: 64 hexadecimal digits, or Laravel's form for `APP_KEY`."""
        digest = hmac.digest(self._key(), name.encode(), hashlib.sha256)
        # `php artisan key:generate` writes this form, and nothing else is accepted.
        return f"base64:{base64.b64encode(digest).decode()}" if name == "APP_KEY" else digest.hex()

    def _key(self) -> bytes:
        try:
            key = self._path.read_bytes()
        except FileNotFoundError:
            key = b""
        if len(key) == KEY_SIZE:
            return key
        key = secrets.token_bytes(KEY_SIZE)
        temporary = self._path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
        temporary.replace(self._path)
        return key


def _of_file(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_ENV_FILE + 1)
        if len(content) > MAX_ENV_FILE:
            raise _invalid(f"--env-file: {path} is larger than {MAX_ENV_FILE >> 20} MiB.")
        return parse_env(content.decode("utf-8-sig"))
    except OSError as error:
        raise _invalid(f"--env-file: {path} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise _invalid(f"--env-file: {path} isn't text in UTF-8.") from error


def _assignment(option: str, text: str) -> tuple[str, str]:
    name, has_value, value = text.partition("=")
    if not _NAME.fullmatch(name):
        raise _invalid(f"{option}: expected NAME=VALUE, or NAME for the value in this shell.")
    if has_value:
        return name, value
    if name not in os.environ:
        raise _invalid(f"{option}: {name} isn't set in this shell. Give it a value: {option} {name}=VALUE.")
    return name, os.environ[name]


def _invalid(message: str) -> Refused:
    return Refused(message, reason="variable-invalid")
